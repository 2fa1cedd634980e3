//! The card page, as a browser without scripts uses it.

mod common;

use common::{Company, order};
use serde_json::Value;

const CARD: &str = "number=4242+4242+4242+4242&expiry=12%2F40&cvc=123";
const BACK: &str = "http://127.0.0.1:1/shop/paid?step=2";

/// A payment that waits for its card: its id and its page's path.
async fn waiting(company: &Company, key: &str) -> (String, String) {
    let paid = company.pay(key, "page").await.json();
    assert_eq!(paid["status"], "requires_card");
    let id = paid["payment"].as_str().expect("an id").to_owned();
    assert_eq!(paid["redirect_url"], company.url(&format!("/pay/{id}")));
    let page = format!("/pay/{id}");
    (id, page)
}

async fn status(company: &Company, id: &str) -> Value {
    company.get(&format!("/api/payments/{id}")).await.json()["status"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_pays_and_leads_back_to_the_shop() {
    let company = Company::start().await;
    let (id, page) = waiting(&company, "k").await;
    let shown = company.call("GET", &page, &[], "").await;
    assert_eq!(shown.status, 200);
    for text in ["₩25,000", "o-1", "127.0.0.1:1", "Simulated payment company", "<html lang=\"en\">"] {
        assert!(shown.text.contains(text), "{text}");
    }
    let policy = shown.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && policy.contains("form-action 'self' http://127.0.0.1:1;")
    );
    assert!(!shown.text.contains("<script") && !shown.text.contains("style=\""));

    let answer = company.form(&page, CARD).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, format!("{BACK}&payment={id}&result=authorized").as_str())
    );
    assert_eq!(status(&company, &id).await, "authorized");
    let again = company.form(&page, CARD).await;
    assert_eq!((again.status, again.header("location")), (303, answer.header("location")), "sent twice");
    assert_eq!(company.totals().await[0], 1);
    let over = company.call("GET", &page, &[], "").await.text;
    assert!(over.contains("Approved") && over.contains("•••• 4242") && !over.contains("<form"), "{over}");
    company.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_fields_are_told_and_the_number_is_not_shown_again() {
    let company = Company::start().await;
    let (id, page) = waiting(&company, "k").await;
    for (body, text) in [
        ("number=4242424242424241&expiry=12%2F40&cvc=123", "This is not a card number"),
        ("number=4111111111111111&expiry=12%2F40&cvc=123", "Only the test cards below work here"),
        ("number=4242424242424242&expiry=01%2F20&cvc=123", "a month that is not over yet"),
        ("number=4242424242424242&expiry=12%2F40&cvc=1", "three or four digits"),
        ("", "This is not a card number"),
    ] {
        let answer = company.form(&page, body).await;
        assert_eq!(answer.status, 422, "{body}");
        assert!(
            answer.text.contains(text) && answer.text.contains("role=\"alert\""),
            "{body}: {}",
            answer.text
        );
        for digits in ["4242424242424241", "4111111111111111", "4242424242424242"] {
            assert!(!answer.text.contains(digits), "{digits} is shown again");
        }
    }
    let typed = company.form(&page, "number=1&expiry=12%2F40&cvc=123").await.text;
    assert!(typed.contains("value=\"12/40\""), "what may be kept is kept");
    assert_eq!(status(&company, &id).await, "requires_card");
    company.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_card_number_reaches_the_disk() {
    let company = Company::start().await;
    let (_, page) = waiting(&company, "k-1").await;
    company.form(&page, "number=4111111111111111&expiry=12%2F40&cvc=987").await;
    assert_eq!(company.form(&page, CARD).await.status, 303);
    let folder = company.stop().await.expect("a folder");
    for entry in std::fs::read_dir(folder.path()).expect("the folder") {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(&path).expect("a file");
        for digits in ["4111111111111111", "4242424242424242", "4242 4242 4242 4242"] {
            let found = bytes.windows(digits.len()).any(|window| window == digits.as_bytes());
            assert!(!found, "{digits} in {}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_card_can_be_followed_by_another_but_not_for_ever() {
    let company = Company::start().await;
    let (id, page) = waiting(&company, "k-1").await;
    let declined = company.form(&page, "use=tok_declined").await;
    assert_eq!(declined.status, 402);
    assert!(declined.text.contains("The bank declined this card"));
    assert_eq!(company.form(&page, "use=tok_ok").await.status, 303);
    assert_eq!(status(&company, &id).await, "authorized");

    let (id, page) = waiting(&company, "k-2").await;
    company.form(&page, "use=tok_declined").await;
    assert!(company.form(&page, "use=tok_declined").await.text.contains("One attempt is left."));
    let last = company.form(&page, "use=tok_declined").await;
    assert_eq!(last.header("location"), format!("{BACK}&payment={id}&result=declined"));
    assert_eq!(status(&company, &id).await, "declined");
    company.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_wants_its_code() {
    let company = Company::start().await;
    let (id, page) = waiting(&company, "k").await;
    let asked = company.form(&page, "number=4000000000003220&expiry=12%2F40&cvc=123").await;
    assert!(asked.status == 200 && asked.text.contains("123456") && asked.text.contains("name=\"code\""));
    let wrong = company.form(&page, "code=654321").await;
    assert!(wrong.status == 402 && wrong.text.contains("This is not the code"));
    assert_eq!(status(&company, &id).await, "requires_card");
    let right = company.form(&page, "code=+123456+").await;
    assert_eq!(right.header("location"), format!("{BACK}&payment={id}&result=authorized"));

    let by_token = company.pay("k-2", "tok_challenge").await.json();
    assert_eq!(by_token["status"], "requires_card");
    let page = format!("/pay/{}", by_token["payment"].as_str().expect("an id"));
    assert!(company.call("GET", &page, &[], "").await.text.contains("name=\"code\""));
    company.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_may_leave_and_reads_their_language() {
    let company = Company::start().await;
    let (id, page) = waiting(&company, "k").await;
    let korean = company.call("GET", &page, &[("accept-language", "ko-KR,ko;q=0.9")], "").await.text;
    assert!(korean.contains("lang=\"ko\"") && korean.contains("25,000원") && korean.contains("모의 결제사"));
    let english =
        company.call("GET", &format!("{page}?lang=en"), &[("accept-language", "ko")], "").await.text;
    assert!(english.contains("₩25,000"));
    let left = company.form(&page, "leave=1").await;
    assert_eq!(left.header("location"), format!("{BACK}&payment={id}&result=cancelled"));
    assert_eq!(status(&company, &id).await, "voided");
    let none = company.call("GET", "/pay/pay_7_nothing", &[], "").await;
    assert!(none.status == 404 && none.text.contains("No such payment"));
    company.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_shop_wrote_stays_text() {
    let company = Company::start().await;
    let mut body = order("<b>o</b>", "page");
    body["description"] = "<script>alert(1)</script>".into();
    let paid = company.post("/api/payments", "k", &body).await.json();
    let page = format!("/pay/{}", paid["payment"].as_str().expect("an id"));
    let text = company.call("GET", &page, &[], "").await.text;
    assert!(!text.contains("<script>") && !text.contains("<b>o") && text.contains("&lt;script&gt;"));
    company.stop().await;
}
