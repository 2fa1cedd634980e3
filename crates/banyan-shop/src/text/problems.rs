//! What may stand in the way of a shopper, and what to do then.

use super::{Lang, Text};

pub(crate) const NOT_FOUND: Text = Text("There is nothing here", "없는 화면입니다");
pub(crate) const NOT_FOUND_HINT: Text = Text("The address is wrong, or what was here is gone.", "주소가 틀렸거나 사라진 화면입니다.");
pub(crate) const NO_PRODUCT: Text = Text("This product is not sold here", "이곳에서 팔지 않는 상품입니다");
pub(crate) const NO_ORDER: Text = Text("None of your orders has this number", "이 번호의 주문이 없습니다");
pub(crate) const NO_ORDER_HINT: Text = Text("Look in the list of your orders. If you ordered under another name, sign in with that one.", "내 주문 목록을 확인해 주세요. 다른 이름으로 주문하셨다면 그 이름으로 로그인해 주세요.");
pub(crate) const FORM_STALE: Text = Text("This form is too old", "오래된 화면입니다");
pub(crate) const FORM_STALE_HINT: Text = Text("Nothing was done. Go back, load the page anew, and send it again.", "아무것도 처리되지 않았습니다. 뒤로 가서 화면을 새로 고친 뒤 다시 보내 주세요.");
pub(crate) const FORM_BROKEN: Text = Text("This form could not be read", "보낸 내용을 읽지 못했습니다");
pub(crate) const TROUBLE: Text = Text("The shop does not answer right now", "지금은 상점이 응답하지 않습니다");
pub(crate) const TROUBLE_HINT: Text = Text("Your cart is kept. Load the page again in a moment; an order that was placed is in “My orders”.", "장바구니는 그대로입니다. 잠시 뒤 다시 열어 주세요. 이미 한 주문은 ‘내 주문’에 있습니다.");
pub(crate) const TROUBLE_PLACING: Text = Text("We do not know yet whether the order was placed. Press the button again: it will not become a second order.", "주문이 되었는지 아직 알 수 없습니다. 버튼을 다시 눌러 주세요. 두 번 주문되지 않습니다.");
const UNKNOWN: Text = Text("We do not know whether this was done. Load the page again in a moment and look before you try it once more.", "처리되었는지 알 수 없습니다. 잠시 뒤 화면을 다시 열어 확인한 다음 시도해 주세요.");
pub(crate) const KEY_USED: Text = Text("This form has placed an order already. It is in “My orders”.", "이 화면으로 이미 주문하셨습니다. ‘내 주문’에서 확인해 주세요.");

pub(crate) const REFUSED: Text = Text("The shop cannot do this as things are; nothing was changed. Try again in a moment, or ask us.", "지금은 처리할 수 없습니다. 바뀐 것은 없습니다. 잠시 뒤 다시 시도하거나 저희에게 문의해 주세요.");
const RUSH: Text = Text("There is a rush right now. Nothing was changed; try again in a moment.", "지금 이용자가 많습니다. 바뀐 것은 없으니 잠시 뒤 다시 시도해 주세요.");
const NOT_READY: Text = Text("The shop cannot take orders yet: its operator has not finished setting it up.", "아직 주문을 받을 수 없습니다. 운영자가 준비를 마치지 않았습니다.");

/// What the refusal `slug` means to a shopper, if it is one that a shopper can meet.
pub(crate) fn refusal(slug: &str) -> Option<Text> {
    Some(match slug {
        "coupon-not-found" => Text("There is no coupon with this code. Check the letters, or go on without it.", "이 코드의 쿠폰이 없습니다. 글자를 확인하거나 쿠폰 없이 진행해 주세요."),
        "coupon-redeemed" => Text("This coupon has been used already.", "이미 사용한 쿠폰입니다."),
        "coupon-held" => Text("This coupon is set aside for another order of yours. Pay or cancel that one first.", "다른 주문에 쓰고 있는 쿠폰입니다. 그 주문을 먼저 결제하거나 취소해 주세요."),
        "coupon-expired" => Text("This coupon's time is over.", "기간이 끝난 쿠폰입니다."),
        "coupon-revoked" => Text("This coupon was taken back.", "회수된 쿠폰입니다."),
        "coupon-not-yours" | "not-eligible" => Text("This coupon is not for you.", "받으실 수 없는 쿠폰입니다."),
        "below-minimum-order" => Text("The order is too small for this coupon. Add something, or go on without it.", "이 쿠폰을 쓰기에는 주문 금액이 적습니다. 상품을 더 담거나 쿠폰 없이 진행해 주세요."),
        "insufficient-funds" => Text("You do not have that many points. Use fewer.", "포인트가 모자랍니다. 더 적게 적어 주세요."),
        "account-not-found" => Text("You have no points yet. See “Points”, or order without them.", "아직 포인트가 없습니다. ‘포인트’를 확인하거나 포인트 없이 주문해 주세요."),
        "order-too-large" => Text("This is more than one order can take. Order in two parts.", "한 번에 주문할 수 있는 양을 넘었습니다. 나누어 주문해 주세요."),
        "other-currency" => Text("This coupon is for another currency.", "다른 통화의 쿠폰입니다."),
        "payment-method-missing" => Text("Choose how to pay.", "결제 방법을 골라 주세요."),
        "too-many-refunds" => Text("No more refunds are possible for this order. Please ask us.", "이 주문은 더 환불할 수 없습니다. 저희에게 문의해 주세요."),
        "out-of-stock" => Text("Not enough of it is left. Take fewer, or remove it.", "재고가 모자랍니다. 수량을 줄이거나 빼 주세요."),
        "purchase-limit" => Text("This is more than one member may buy. Take fewer.", "한 분이 살 수 있는 수량을 넘었습니다. 수량을 줄여 주세요."),
        "price-changed" => Text("A price has changed since you looked. See the new sum below; nothing was ordered.", "그사이 가격이 바뀌었습니다. 아래 새 금액을 확인해 주세요. 아직 주문되지 않았습니다."),
        "product-not-found" | "product-not-on-sale" => Text("One of the goods is no longer sold. Remove it from the cart.", "더 이상 팔지 않는 상품이 있습니다. 장바구니에서 빼 주세요."),
        "terms-not-set" | "checkout-not-defined" | "saga-not-defined" | "sku-not-found" | "location-not-found" | "unauthenticated" | "forbidden" => NOT_READY,
        "not-leading" => Text("These goods are not sold here at the moment.", "지금은 이곳에서 팔지 않는 상품입니다."),
        "order-not-found" => NO_ORDER_HINT,
        "sold-out" => Text("All of them are taken.", "모두 나갔습니다."),
        "limit-reached" => Text("You have it already.", "이미 받은 쿠폰입니다."),
        "not-started" => Text("It has not opened yet.", "아직 시작하지 않았습니다."),
        "ended" | "campaign-not-found" => Text("This sale is over.", "끝난 세일입니다."),
        "paused" => Text("The sale is paused for a moment. Try again soon.", "세일이 잠시 멈췄습니다. 곧 다시 시도해 주세요."),
        "order-settling" => Text("The order is just being settled. Try again in a moment.", "주문이 지금 처리되는 중입니다. 잠시 뒤 다시 시도해 주세요."),
        "order-not-paid" => Text("Only what has been paid can be returned.", "결제된 주문만 반품할 수 있습니다."),
        "order-paid" => Text("The order is paid already: the shop has to take it back. Please ask us.", "이미 결제된 주문입니다. 취소는 저희에게 문의해 주세요."),
        "card-number" => Text("There is a card number in what you typed. Take it out; only the payment company's page asks for one.", "적은 내용에 카드 번호가 있습니다. 빼 주세요. 카드 번호는 결제 회사 화면에만 적어 주세요."),
        "order-ended" => Text("The order is over already: cancelled, or never paid.", "이미 취소되었거나 결제되지 않은 주문입니다."),
        "return-exceeds-order" => Text("More cannot come back than was bought. Check the quantities.", "산 것보다 많이 반품할 수 없습니다. 수량을 확인해 주세요."),
        "refund-under-way" => Text("A refund of this order is under way. Try again when it is done.", "이 주문의 환불이 진행 중입니다. 끝난 뒤 다시 시도해 주세요."),
        "idempotency-key-reused" => KEY_USED,
        "invalid-request" | "too-large" | "saga-input-too-large" => Text("The shop could not take it as it was sent; nothing was changed. Check what you typed, and take less at once.", "보낸 내용을 처리하지 못했습니다. 바뀐 것은 없습니다. 적은 내용을 확인하고 한 번에 더 적게 주문해 주세요."),
        "storage-full" | "too-many-reservations" | "too-many-sagas" => Text("The shop can take no more orders for the moment. Nothing was changed; try again in a few minutes.", "지금은 주문을 더 받을 수 없습니다. 바뀐 것은 없으니 몇 분 뒤 다시 시도해 주세요."),
        "busy" | "unavailable" | "idempotency-keys-full" | "view-behind" | "too-slow" | "too-many-requests" | "gateway-busy" | "gateway-client-too-slow" => RUSH,
        "outcome-unknown" | "gateway-timeout" | "gateway-unreachable" => UNKNOWN,
        _ => return None,
    })
}

/// The refusal in words, always ours: the API's `detail` is a sentence for a developer, and in English.
pub(crate) fn refused(lang: Lang, slug: &str, detail: &str) -> String {
    let text = refusal(slug).unwrap_or_else(|| {
        tracing::warn!("a shopper is refused for a reason that has no words here: {slug}: {detail}");
        REFUSED
    });
    lang.t(text).to_owned()
}

/// Why an order failed.
pub(crate) fn why_failed(lang: Lang, why: &str) -> String {
    let text = known_reason(why).unwrap_or(super::WHY_OTHER);
    lang.t(text).trim_end_matches('.').to_owned()
}

/// Why a refund was refused.
pub(crate) fn why_refused(lang: Lang, why: &str) -> &'static str {
    lang.t(known_reason(why).unwrap_or(super::REFUND_ASK_US))
}

/// A reason of the log, if it is one of ours: what a company says is in its language, and not meant for shoppers.
fn known_reason(why: &str) -> Option<Text> {
    let why = why.split(':').next().unwrap_or_default().trim();
    Some(match why {
        "declined" | "card-declined" => super::WHY_DECLINED,
        "expired" | "deadline" | "too-late" | "timed-out" => super::WHY_EXPIRED,
        "left" | "abandoned" | "customer-left" | "requires-customer" => super::WHY_LEFT,
        "voided" => super::WHY_VOIDED,
        "cancelled" => super::WHY_CANCELLED,
        "undone-by-operator" => super::WHY_UNDONE,
        _ => return refusal(why),
    })
}
