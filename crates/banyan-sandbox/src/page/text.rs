//! Every sentence of the card page, in English and Korean.

use crate::card::{Outcome, Wrong};
use crate::payment::{FAILURES_MAX, Status};

/// A sentence in each language.
#[derive(Clone, Copy)]
pub(super) struct Text(&'static str, &'static str);

/// A language of the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Lang {
    #[default]
    En,
    Ko,
}

impl Lang {
    pub(super) fn from_code(code: &str) -> Option<Self> {
        [Self::En, Self::Ko].into_iter().find(|lang| lang.code() == code)
    }

    /// What a browser's `Accept-Language` prefers: whichever of ours it names first.
    pub(super) fn preferred(accepted: &str) -> Self {
        let names = accepted.split(',').filter_map(|name| name.trim().get(..2));
        names.map(str::to_ascii_lowercase).find_map(|name| Self::from_code(&name)).unwrap_or_default()
    }

    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ko => "ko",
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::Ko => "한국어",
        }
    }

    pub(super) const fn other(self) -> Self {
        match self {
            Self::En => Self::Ko,
            Self::Ko => Self::En,
        }
    }

    pub(super) const fn t(self, text: Text) -> &'static str {
        match self {
            Self::En => text.0,
            Self::Ko => text.1,
        }
    }
}

pub(super) const COMPANY: Text = Text("Sandbox Payments", "샌드박스 결제");
pub(super) const SIMULATED: Text = Text("Simulated payment company", "모의 결제사");
pub(super) const SIMULATED_HINT: Text = Text(
    "No money moves. Never type a real card number here.",
    "실제 돈은 움직이지 않습니다. 진짜 카드 번호를 입력하지 마세요.",
);
pub(super) const SKIP: Text = Text("Skip to the form", "입력란으로 건너뛰기");
pub(super) const TO_PAY: Text = Text("To pay", "결제 금액");
pub(super) const SHOP: Text = Text("Shop", "상점");
pub(super) const ORDER: Text = Text("Order", "주문");
pub(super) const ITEM: Text = Text("For", "내용");
pub(super) const PAYMENT: Text = Text("Payment", "결제 번호");
pub(super) const MINUTES_LEFT: Text = Text("Time left", "남은 시간");
pub(super) const MINUTES: Text = Text(" min", "분");
pub(super) const CARD: Text = Text("Pay by card", "카드로 결제");
pub(super) const NUMBER: Text = Text("Card number", "카드 번호");
pub(super) const EXPIRY: Text = Text("Valid until (MM/YY)", "유효기간 (MM/YY)");
pub(super) const CVC: Text = Text("Security code", "보안 코드 (CVC)");
pub(super) const PAY: Text = Text("Pay", "결제하기");
pub(super) const TEST_CARDS: Text = Text("Or pay with a test card", "또는 테스트 카드로 결제");
pub(super) const TEST_CARDS_HINT: Text = Text(
    "One press pays. Any later date and any code go with the numbers.",
    "누르면 바로 결제됩니다. 유효기간과 보안 코드는 아무 값이나 됩니다.",
);
pub(super) const LEAVE: Text = Text("Cancel and go back to the shop", "취소하고 상점으로 돌아가기");
pub(super) const BACK: Text = Text("Back to the shop", "상점으로 돌아가기");
pub(super) const CHALLENGE: Text = Text("Your bank wants to be sure", "카드사 본인 확인");
pub(super) const CHALLENGE_HINT: Text = Text(
    "A real bank would send a code to your phone. This one has nobody to send it to: the code is",
    "실제 카드사라면 휴대전화로 인증번호를 보냅니다. 여기서는 보낼 곳이 없으므로 인증번호를 알려 드립니다:",
);
pub(super) const CODE: Text = Text("Code", "인증번호");
pub(super) const CONFIRM: Text = Text("Confirm", "확인");
pub(super) const DECLINED: Text = Text(
    "The bank declined this card. Nothing was charged. Try another card.",
    "카드사가 승인을 거절했습니다. 청구된 금액은 없습니다. 다른 카드로 시도하세요.",
);
pub(super) const WRONG_CODE: Text = Text(
    "This is not the code. Nothing was charged. Try again.",
    "인증번호가 다릅니다. 청구된 금액은 없습니다. 다시 입력하세요.",
);
pub(super) const NOT_FOUND: Text = Text("No such payment", "없는 결제입니다");
pub(super) const NOT_FOUND_HINT: Text = Text(
    "Nothing was charged. Go back to the shop and start again from your order.",
    "청구된 금액은 없습니다. 상점으로 돌아가 주문에서 다시 시작하세요.",
);
pub(super) const TROUBLE: Text = Text("This did not work just now", "지금은 처리할 수 없습니다");
pub(super) const TROUBLE_HINT: Text = Text(
    "Load this page again: it shows whether the payment went through.",
    "이 화면을 새로고침하세요. 결제가 되었는지 보여 줍니다.",
);
pub(super) const HOME_HINT: Text = Text(
    "This server plays a payment company for a shop that is being tried out. Card pages are reached from the shop.",
    "이 서버는 상점을 시험하기 위해 결제사 역할을 합니다. 카드 결제 화면은 상점에서 열립니다.",
);

/// The last attempt is announced.
pub(super) const LAST_TRY: Text = Text("One attempt is left.", "한 번 더 시도할 수 있습니다.");

/// Whether one attempt is left after `failures`.
pub(super) const fn is_last_try(failures: i64) -> bool {
    failures == FAILURES_MAX - 1
}

/// What a payment is at, for the customer.
pub(super) const fn status(status: Status) -> (Text, Text) {
    match status {
        Status::RequiresCard => (Text("Waiting for a card", "카드 입력 대기"), Text("", "")),
        Status::Authorized => (
            Text("Approved", "승인되었습니다"),
            Text("The shop completes your order.", "상점이 주문을 마무리합니다."),
        ),
        Status::PartlyCaptured | Status::Captured => {
            (Text("Paid", "결제되었습니다"), Text("Nothing is left to do here.", "더 하실 일이 없습니다."))
        }
        Status::PartlyRefunded => (
            Text("Partly refunded", "일부 환불되었습니다"),
            Text("The shop sent part of the money back.", "상점이 금액의 일부를 돌려주었습니다."),
        ),
        Status::Refunded => (
            Text("Refunded", "환불되었습니다"),
            Text("The shop sent the money back.", "상점이 금액을 돌려주었습니다."),
        ),
        Status::Voided => {
            (Text("Cancelled", "취소되었습니다"), Text("Nothing was charged.", "청구된 금액은 없습니다."))
        }
        Status::Declined => (
            Text("Declined", "승인이 거절되었습니다"),
            Text(
                "Nothing was charged. Start again from your order.",
                "청구된 금액은 없습니다. 주문에서 다시 시작하세요.",
            ),
        ),
        Status::Expired => (
            Text("Too late", "시간이 지났습니다"),
            Text(
                "Nothing was charged. Start again from your order.",
                "청구된 금액은 없습니다. 주문에서 다시 시작하세요.",
            ),
        ),
    }
}

/// What a test card does, in a word.
pub(super) const fn outcome(outcome: Outcome) -> Text {
    match outcome {
        Outcome::Ok => Text("approved", "승인"),
        Outcome::Declined => Text("declined", "거절"),
        Outcome::Challenge => Text("asks for a code", "인증번호 확인"),
    }
}

/// What is wrong with a form.
pub(super) const fn wrong(wrong: Wrong) -> Text {
    match wrong {
        Wrong::Number => Text(
            "This is not a card number: check its digits.",
            "카드 번호가 올바르지 않습니다. 숫자를 확인하세요.",
        ),
        Wrong::NotATestCard => Text(
            "Only the test cards below work here. The number you typed was not kept.",
            "아래의 테스트 카드만 쓸 수 있습니다. 입력한 번호는 저장하지 않았습니다.",
        ),
        Wrong::Expiry => Text(
            "Give a month that is not over yet, such as 12/30.",
            "아직 지나지 않은 달을 12/30처럼 입력하세요.",
        ),
        Wrong::Cvc => {
            Text("The security code has three or four digits.", "보안 코드는 숫자 3자리 또는 4자리입니다.")
        }
    }
}
