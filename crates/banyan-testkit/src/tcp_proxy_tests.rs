//! Each fault of the proxy, seen from both of its sides.

use super::*;
use crate::wait_until;

const SOON: Duration = Duration::from_secs(20);

/// A server that sends back what it gets, and the proxy before it.
fn echo() -> TcpProxy {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let target = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    TcpProxy::start(target).expect("a proxy")
}

fn connect(proxy: &TcpProxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).expect("a connection");
    stream.set_read_timeout(Some(SOON)).expect("a limit");
    stream
}

fn exchange(mut stream: &TcpStream, text: &str) -> std::io::Result<String> {
    stream.write_all(text.as_bytes())?;
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back)?;
    Ok(String::from_utf8(back).expect("what was sent"))
}

/// What still comes until the connection ends.
fn rest(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return bytes,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return bytes,
            Err(error) => panic!("the connection does not end: {error}"),
        }
    }
}

#[test]
fn bytes_pass_both_ways_and_ends_are_passed_on() {
    let proxy = echo();
    let stream = connect(&proxy);
    assert_eq!(exchange(&stream, "hello").expect("an echo"), "hello");
    assert_eq!((proxy.passed(Way::ToServer), proxy.passed(Way::ToClient)), (5, 5));
    (&stream).write_all(b"last").expect("written");
    stream.shutdown(Shutdown::Write).expect("half closed");
    assert_eq!(rest(&stream), b"last", "the other half still works");
    assert!(wait_until(SOON, || proxy.open() == 0));
    assert_eq!(proxy.accepted(), 1);
}

#[test]
fn a_cut_ends_what_is_open_and_nothing_else() {
    let proxy = echo();
    let streams = [connect(&proxy), connect(&proxy)];
    for stream in &streams {
        exchange(stream, "x").expect("an echo");
    }
    proxy.cut();
    for stream in &streams {
        assert_eq!(rest(stream), b"");
    }
    assert_eq!(exchange(&connect(&proxy), "again").expect("an echo"), "again");
}

#[test]
fn new_connections_can_be_refused_while_open_ones_live() {
    let proxy = echo();
    let open = connect(&proxy);
    exchange(&open, "x").expect("an echo");
    proxy.refuse(true);
    assert_eq!(rest(&connect(&proxy)), b"");
    assert_eq!(exchange(&open, "still").expect("an echo"), "still");
    proxy.refuse(false);
    assert_eq!(exchange(&connect(&proxy), "again").expect("an echo"), "again");
    assert_eq!(proxy.accepted(), 2);
}

#[test]
fn held_bytes_wait_and_then_follow_in_order() {
    for way in [Way::ToServer, Way::ToClient] {
        let proxy = echo();
        let stream = connect(&proxy);
        exchange(&stream, "x").expect("an echo");
        proxy.hold(way, true);
        (&stream).write_all(b"abc").expect("written");
        if way == Way::ToClient {
            assert!(wait_until(SOON, || proxy.passed(Way::ToServer) == 4), "the other way is free");
        }
        assert!(wait_until(SOON, || proxy.waiting(way) == 1));
        assert_eq!(proxy.passed(way), 1);
        proxy.hold(way, false);
        assert_eq!(exchange(&stream, "def").expect("an echo"), "abc");
        let mut back = [0; 3];
        (&stream).read_exact(&mut back).expect("the rest");
        assert_eq!(&back, b"def");
    }
}

#[test]
fn held_bytes_are_lost_with_a_cut() {
    let proxy = echo();
    let stream = connect(&proxy);
    exchange(&stream, "x").expect("an echo");
    proxy.hold(Way::ToServer, true);
    (&stream).write_all(b"lost").expect("written");
    assert!(wait_until(SOON, || proxy.waiting(Way::ToServer) == 1));
    proxy.cut();
    assert_eq!(rest(&stream), b"");
    proxy.hold(Way::ToServer, false);
    assert!(wait_until(SOON, || proxy.waiting(Way::ToServer) == 0));
    assert_eq!(proxy.passed(Way::ToServer), 1);
}

#[test]
fn a_cut_comes_after_exactly_so_many_bytes() {
    let proxy = echo();
    let stream = connect(&proxy);
    exchange(&stream, "x").expect("an echo");
    proxy.cut_after(Way::ToClient, 5);
    assert_eq!(exchange(&stream, "abc").expect("three are fewer"), "abc");
    assert!(proxy.will_cut(Way::ToClient));
    (&stream).write_all(b"defg").expect("written");
    assert_eq!(rest(&stream), b"de");
    assert!(!proxy.will_cut(Way::ToClient));
    assert_eq!(proxy.passed(Way::ToClient), 6);
    assert_eq!(exchange(&connect(&proxy), "a longer text").expect("once only"), "a longer text");
}

#[test]
fn a_cut_that_was_taken_back_does_not_come() {
    let proxy = echo();
    let stream = connect(&proxy);
    proxy.cut_after(Way::ToClient, 5);
    assert_eq!(exchange(&stream, "abc").expect("three are fewer"), "abc");
    proxy.cut_no_more(Way::ToClient);
    assert!(!proxy.will_cut(Way::ToClient));
    assert_eq!(exchange(&stream, "a longer text").expect("nothing is cut"), "a longer text");
}
