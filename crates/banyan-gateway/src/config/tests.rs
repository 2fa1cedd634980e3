//! What a file may say, and what is said about a wrong one.

use super::*;
use expect_test::{Expect, expect};

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/banyan"))
}

fn check(text: &str, wanted: &Expect) {
    let error = parse(text).expect_err("refused");
    wanted.assert_eq(&error.to_string());
}

const ROUTE: &str = "[[route]]\npath = \"/\"\nupstream = \"http://127.0.0.1:8000\"\n";

#[test]
fn the_smallest_file_is_enough() {
    let config = parse(
        "listen = \"127.0.0.1:8080\"\n[[route]]\npath = \"/\"\nmode = \"legacy\"\nupstream = \"http://127.0.0.1:8000\"\n",
    )
    .expect("good");
    assert_eq!(config.routes[0].name, "/");
    assert_eq!(config.state, Path::new("/etc/banyan/banyan-gateway"));
    assert_eq!((config.limits, config.timeouts), (Limits::default(), Timeouts::default()));
}

#[test]
fn a_full_file_is_taken() {
    let config = parse(
        r#"
listen = ["127.0.0.1:8080", "[::1]:8080"]
admin = "127.0.0.1:9901"
state = "/var/lib/gateway"
workers = 4
trusted_proxies = ["10.0.0.0/8", "::1"]
trace_percent = 0.5
[tls]
cert = "cert.pem"
key = "key.pem"
[limits]
body_bytes_max = 1048576
[timeouts]
first_byte_millis = 30000
[access_log]
slow_millis = 500
[[upstream]]
name = "shop"
urls = ["http://10.0.0.5:8000", "http://10.0.0.6:8000"]
http = "1.1"
health = { path = "/health" }
breaker = { failures = 5, open_millis = 1000 }
[[route]]
name = "cart"
host = "*.shop.example"
path = "/cart"
methods = ["GET", "POST"]
headers = { x-test = "*" }
mode = "canary"
upstream = "shop"
banyan = "in-process"
rewrite = { from = "/cart", to = "/v1/cart", side = "banyan" }
canary = { percent = 0.01, by = "cookie:sessionid", override_cookie = "side", ramp = [{ at = "2026-11-24T09:00:00Z", percent = 5 }] }
shadow = { percent = 10, ignore = ["$.now"], arrays_by_key = { "$.lines" = "sku" } }
evidence = { requests = 1000, mismatch_max = 0.001, p99_ratio_max = 1.5 }
touches = ["stock"]
"#,
    )
    .expect("good");
    assert_eq!(config.tls.as_ref().map(|tls| tls.cert.as_path()), Some(Path::new("/etc/banyan/cert.pem")));
    assert_eq!(config.state, Path::new("/var/lib/gateway"));
    let written = serde_json::to_string(&config.routes[0]).expect("JSON");
    let read: RouteSpec = serde_json::from_str(&written).expect("read again");
    assert_eq!(read, config.routes[0], "one shape in files, answers and the journal");
}

#[test]
fn wrong_files_are_refused_with_line_and_field() {
    let route = |fields: &str| format!("listen = \"127.0.0.1:8080\"\n[[route]]\n{fields}\n");
    check(
        "listen = \"nowhere\"\n",
        &expect![[
            r#"listen: "nowhere" is no address to listen on: write one such as "127.0.0.1:8080" or "[::]:8080""#
        ]],
    );
    check(
        "listen = \"127.0.0.1:8080\"\n",
        &expect![[
            r#"route: there is none: add [[route]] with path = "/" and upstream = "http://127.0.0.1:8000""#
        ]],
    );
    check(
        &route("path = \"/\"\nupstreams = \"http://a\""),
        &expect![[r#"
            TOML parse error at line 4, column 1
              |
            4 | upstreams = "http://a"
              | ^^^^^^^^^
            unknown field `upstreams`, expected one of `name`, `host`, `path`, `methods`, `headers`, `mode`, `upstream`, `banyan`, `to_legacy`, `to_banyan`, `rewrite`, `upgrades`, `canary`, `shadow`, `evidence`, `touches`, `timeouts`, `body_bytes_max`"#]],
    );
    check(
        &route("path = \"/\""),
        &expect![[r#"line 2: route "/": upstream: mode `legacy` needs the old shop's address"#]],
    );
    check(
        &route("path = \"/a/*\"\nupstream = \"http://a\""),
        &expect![[r#"line 2: route "/a/*": path: "/a/*" is a prefix already: leave the * out"#]],
    );
    check(
        &route("path = \"/\"\nupstream = \"127.0.0.1:8000\""),
        &expect![[
            r#"line 2: route "/": upstream: no [[upstream]] is named "127.0.0.1:8000": add one, or write an address such as "http://127.0.0.1:8000""#
        ]],
    );
    check(
        &route("path = \"/\"\nupstream = \"http://a/shop\""),
        &expect![[
            r#"line 2: route "/": upstream: "http://a/shop" has a path: leave "/shop" out, and use the route's rewrite"#
        ]],
    );
    check(
        &route("path = \"/\"\nmode = \"banyan\""),
        &expect![[
            r#"line 2: route "/": banyan: mode `banyan` needs Banyan's side: write "in-process" (with `banyan up --gateway`) or an address"#
        ]],
    );
    check(
        &route(
            "path = \"/\"\nmode = \"canary\"\nupstream = \"http://a\"\nbanyan = \"http://b\"\ncanary = { percent = 0.005 }",
        ),
        &expect![[r#"line 2: route "/": canary.percent: 0.005 is not between 0 and 100 in steps of 0.01"#]],
    );
    check(
        &format!("listen = \"127.0.0.1:8080\"\n{ROUTE}{ROUTE}"),
        &expect![[
            r#"line 5: route "/": there is a route of this name already: give one of them another `name`"#
        ]],
    );
    check(
        &format!("listen = \"127.0.0.1:8080\"\n{ROUTE}{ROUTE}name = \"again\"\n"),
        &expect![[r#"line 5: route "again": matches the same requests as "/": remove one of them"#]],
    );
    check(
        &format!("listen = \"127.0.0.1:8080\"\n[limits]\nheaders_max = 1\n{ROUTE}"),
        &expect!["limits.headers_max: at least 8, not 1"],
    );
    check(
        &format!("listen = \"127.0.0.1:8080\"\n[[upstream]]\nname = \"a\"\nurls = []\n{ROUTE}"),
        &expect![[
            r#"line 2: upstream "a": urls: name at least one server, such as ["http://127.0.0.1:8000"]"#
        ]],
    );
}

#[test]
fn times_beyond_all_clocks_are_refused() {
    for text in [
        format!("[timeouts]\nidle_millis = 9223372036854775807\n{ROUTE}"),
        format!("{ROUTE}timeouts = {{ idle_millis = 9223372036854775807 }}\n"),
        format!("{ROUTE}timeouts = {{ first_byte_millis = 0 }}\n"),
        format!(
            "[[upstream]]\nname = \"a\"\nurls = [\"http://a\"]\nbreaker = {{ open_millis = 9223372036854775807 }}\n{ROUTE}"
        ),
    ] {
        let error = parse(&format!("listen = \"127.0.0.1:0\"\n{text}")).expect_err("refused").to_string();
        assert!(error.contains("_millis: at "), "{error}");
    }
}

#[test]
fn networks_contain_their_addresses() {
    for (network, address, wanted) in [
        ("10.0.0.0/8", "10.255.0.1", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("10.0.0.0/8", "::ffff:10.1.2.3", true),
        ("0.0.0.0/0", "1.2.3.4", true),
        ("192.168.1.1", "192.168.1.1", true),
        ("192.168.1.1", "192.168.1.2", false),
        ("::/0", "::1", true),
        ("fd00::/8", "fd12::1", true),
        ("fd00::/8", "fe80::1", false),
    ] {
        let parsed = Network::parse(network).expect(network);
        assert_eq!(parsed.contains(address.parse().expect(address)), wanted, "{address} in {network}");
    }
    for wrong in ["10.0.0.0/33", "10.0.0", "x", "::/129", ""] {
        assert_eq!(Network::parse(wrong), None, "{wrong}");
    }
}
