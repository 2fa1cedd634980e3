//! Sentences of the pages, in the order of the pages.

use super::Text;

// Everywhere
pub(crate) const SHOP: Text = Text("Banyan Shop", "반얀 상점");
pub(crate) const SKIP: Text = Text("Skip to the content", "본문으로 건너뛰기");
pub(crate) const DEMO: Text = Text("A demonstration: nothing is sent, no money moves.", "시연용 상점입니다. 배송도, 실제 결제도 없습니다.");
pub(crate) const NAVIGATION: Text = Text("Shop", "상점 메뉴");
pub(crate) const GOODS: Text = Text("Goods", "상품");
pub(crate) const SALE: Text = Text("Sale", "세일");
pub(crate) const COUPONS: Text = Text("My coupons", "내 쿠폰");
pub(crate) const ORDERS: Text = Text("My orders", "내 주문");
pub(crate) const POINTS: Text = Text("Points", "포인트");
pub(crate) const CART: Text = Text("Cart", "장바구니");
pub(crate) const SIGN_IN: Text = Text("Sign in", "로그인");
pub(crate) const SIGN_OUT: Text = Text("Sign out", "로그아웃");
pub(crate) const FRESH: Text = Text("Prices and stock as of {0}.", "가격과 재고는 {0} 기준입니다.");
pub(crate) const FRESH_SALE: Text = Text("As of {0}.", "{0} 기준.");
pub(crate) const STALE: Text = Text("The shop's data could not be read again just now; this is from {0}. It is tried again with the next page.", "상점 정보를 지금 다시 읽지 못했습니다. {0} 기준의 내용이며, 다음 화면에서 다시 시도합니다.");
pub(crate) const BACK_TO_GOODS: Text = Text("To the goods", "상품 보러 가기");

// Goods
pub(crate) const GOODS_TITLE: Text = Text("Things for every day", "매일 쓰는 물건");
pub(crate) const SEARCH: Text = Text("Search", "검색");
pub(crate) const SEARCH_HINT: Text = Text("Mug, tea, 담요 …", "머그, 차, blanket …");
pub(crate) const SORT: Text = Text("Order", "정렬");
pub(crate) const SORT_SHOP: Text = Text("As we like it", "추천순");
pub(crate) const SORT_CHEAP: Text = Text("Lowest price", "낮은 가격순");
pub(crate) const SORT_DEAR: Text = Text("Highest price", "높은 가격순");
pub(crate) const SORT_NAME: Text = Text("Name", "이름순");
pub(crate) const SHOW: Text = Text("Show", "보기");
pub(crate) const ALL: Text = Text("All", "전체");
pub(crate) const CATEGORIES: Text = Text("Categories", "분류");
pub(crate) const FOUND: Text = Text("{0} goods", "상품 {0}개");
pub(crate) const NOTHING_FOUND: Text = Text("Nothing matches", "찾는 상품이 없습니다");
pub(crate) const NOTHING_FOUND_HINT: Text = Text("Try a shorter word, or look through all goods.", "더 짧은 말로 찾거나 전체 상품을 둘러보세요.");
pub(crate) const NO_GOODS: Text = Text("The shelves are empty", "진열된 상품이 없습니다");
pub(crate) const NO_GOODS_HINT: Text = Text("Goods come from the API at /v1/products. This command puts a sample there:", "상품은 API의 /v1/products에서 옵니다. 다음 명령으로 견본을 넣을 수 있습니다.");
pub(crate) const PAGES: Text = Text("Pages", "쪽");
pub(crate) const PREVIOUS: Text = Text("Previous", "이전");
pub(crate) const NEXT: Text = Text("Next", "다음");
pub(crate) const PAGE_OF: Text = Text("{0} of {1}", "{1}쪽 중 {0}쪽");
pub(crate) const SOLD_OUT: Text = Text("Sold out", "품절");
pub(crate) const LEFT: Text = Text("{0} left", "{0}개 남음");
pub(crate) const IN_STOCK: Text = Text("In stock", "재고 있음");
pub(crate) const NOT_COUNTED: Text = Text("Not for sale yet", "판매 준비 중");
pub(crate) const SALE_TEASER: Text = Text("{0}. Claim it while it lasts.", "{0}. 남아 있는 동안 받아 두세요.");
pub(crate) const CAT_TABLE: Text = Text("Table", "식탁");
pub(crate) const CAT_KITCHEN: Text = Text("Kitchen", "부엌");
pub(crate) const CAT_CLOTH: Text = Text("Cloth", "패브릭");
pub(crate) const CAT_DESK: Text = Text("Desk", "책상");
pub(crate) const CAT_HOME: Text = Text("Home", "집");
pub(crate) const CAT_PANTRY: Text = Text("Pantry", "식료품");
pub(crate) const CAT_CARRY: Text = Text("Carry", "나들이");
pub(crate) const CAT_SET: Text = Text("Sets", "묶음");

// A product
pub(crate) const QUANTITY: Text = Text("Quantity", "수량");
pub(crate) const ADD: Text = Text("Add to cart", "장바구니에 담기");
pub(crate) const ADDED: Text = Text("It is in the cart.", "장바구니에 담았습니다.");
pub(crate) const TO_CART: Text = Text("Go to the cart", "장바구니로 가기");
pub(crate) const SOLD_OUT_HINT: Text = Text("All of it has been sold. It can be ordered again as soon as more has come.", "모두 팔렸습니다. 다시 들어오면 주문하실 수 있습니다.");
pub(crate) const INSIDE: Text = Text("In this set", "이 묶음에 든 것");
pub(crate) const VAT_INCLUDED: Text = Text("VAT of {0} included", "부가세 {0} 포함");
pub(crate) const VAT_FREE: Text = Text("Free of VAT", "부가세 면세");
pub(crate) const SHIPPING_FROM: Text = Text("Delivery {0}, free from {1}.", "배송비 {0}, {1} 이상이면 무료.");
pub(crate) const SHIPPING_ALWAYS: Text = Text("Delivery {0}.", "배송비 {0}.");
pub(crate) const PER_MEMBER: Text = Text("At most {0} for each member.", "한 분당 {0}개까지.");
pub(crate) const MORE_LIKE_THIS: Text = Text("Beside it on the shelf", "같은 선반의 상품");

// The cart
pub(crate) const CART_EMPTY: Text = Text("The cart is empty", "장바구니가 비어 있습니다");
pub(crate) const CART_EMPTY_HINT: Text = Text("What you add stays here for thirty days, on this device.", "담은 상품은 이 기기에 30일 동안 남아 있습니다.");
pub(crate) const REMOVE: Text = Text("Remove", "빼기");
pub(crate) const REMOVE_WHAT: Text = Text("Remove {0}", "{0} 빼기");
pub(crate) const UPDATE: Text = Text("Update quantities", "수량 바꾸기");
pub(crate) const GONE_FROM_SHOP: Text = Text("No longer sold here", "더 이상 팔지 않는 상품");
pub(crate) const ONLY_LEFT: Text = Text("Only {0} left: please take fewer.", "{0}개만 남았습니다. 수량을 줄여 주세요.");
pub(crate) const COUPON: Text = Text("Coupon", "쿠폰");
pub(crate) const COUPON_CODE: Text = Text("Coupon code", "쿠폰 코드");
pub(crate) const COUPON_USE: Text = Text("Use it", "적용");
pub(crate) const COUPON_DROP: Text = Text("Use no coupon", "쿠폰 빼기");
pub(crate) const COUPON_CHOSEN: Text = Text("The coupon {0} is used for this cart.", "이 장바구니에 쿠폰 {0}을(를) 적용합니다.");
pub(crate) const COUPON_PICK: Text = Text("Choose one of my coupons", "내 쿠폰에서 고르기");
pub(crate) const COUPON_TYPE: Text = Text("or enter a code", "또는 코드 입력");
pub(crate) const POINTS_USE: Text = Text("Points to use", "사용할 포인트");
pub(crate) const POINTS_HAVE: Text = Text("You have {0}.", "보유 {0}.");
pub(crate) const POINTS_SET: Text = Text("Apply", "적용");
pub(crate) const CHECK_OUT: Text = Text("To checkout", "주문하기");
pub(crate) const SIGN_IN_TO_ORDER: Text = Text("Sign in to order", "로그인하고 주문하기");
pub(crate) const UNITS: Text = Text("{0} pcs", "{0}개");
pub(crate) const CHANGED_CART: Text = Text("The cart is changed.", "장바구니를 바꿨습니다.");
pub(crate) const CART_FULL: Text = Text("A cart takes 24 different goods. Order these first, or remove one.", "장바구니에는 24가지까지 담을 수 있습니다. 먼저 주문하거나 하나를 빼 주세요.");
pub(crate) const EMPTY_AGAIN: Text = Text("The goods of order {0} are in the cart again.", "주문 {0}의 상품을 장바구니에 다시 담았습니다.");

// Sums
pub(crate) const SUM: Text = Text("Summary", "결제 금액");
pub(crate) const SUM_GOODS: Text = Text("Goods", "상품 금액");
pub(crate) const SUM_DISCOUNT: Text = Text("Discount", "할인");
pub(crate) const SUM_SHIPPING: Text = Text("Delivery", "배송비");
pub(crate) const SUM_FREE: Text = Text("free", "무료");
pub(crate) const SUM_POINTS: Text = Text("Points", "포인트");
pub(crate) const SUM_TOTAL: Text = Text("To pay", "결제할 금액");
pub(crate) const SUM_VAT: Text = Text("VAT included", "포함된 부가세");

// Checkout
pub(crate) const CHECKOUT: Text = Text("Checkout", "주문·결제");
pub(crate) const YOUR_GOODS: Text = Text("What you order", "주문할 상품");
pub(crate) const PAYMENT: Text = Text("How to pay", "결제 방법");
pub(crate) const PAY_PAGE: Text = Text("Card, on the payment company's page", "카드 (결제 회사 화면에서)");
pub(crate) const PAY_PAGE_HINT: Text = Text("You are led there and back. We never see the number.", "결제 회사 화면으로 갔다가 돌아옵니다. 카드 번호는 저희가 알지 못합니다.");
pub(crate) const PAY_OK: Text = Text("Stored test card: accepted", "저장된 시험 카드: 승인");
pub(crate) const PAY_DECLINED: Text = Text("Stored test card: declined", "저장된 시험 카드: 거절");
pub(crate) const PAY_TESTS: Text = Text("Test cards of the simulated company", "모의 결제 회사의 시험 카드");
pub(crate) const PAY_NOTHING: Text = Text("Nothing is left to pay: coupon and points cover it.", "쿠폰과 포인트로 모두 치러 더 낼 금액이 없습니다.");
pub(crate) const PLACE: Text = Text("Order and pay {0}", "{0} 결제하고 주문하기");
pub(crate) const PLACE_FREE: Text = Text("Place the order", "주문하기");
pub(crate) const PLACING: Text = Text("Placing the order …", "주문하는 중 …");
pub(crate) const PLACE_HINT: Text = Text("Goods, coupon and points are set aside for you as soon as you order. If the payment fails, you get all of it back.", "주문하면 상품·쿠폰·포인트를 바로 확보해 둡니다. 결제가 되지 않으면 모두 되돌려 드립니다.");
pub(crate) const PRICE_EACH: Text = Text("{0} each", "개당 {0}");
pub(crate) const METHOD_MISSING: Text = Text("Choose how to pay.", "결제 방법을 골라 주세요.");
pub(crate) const TO_PAGE: Text = Text("To the card page", "카드 결제 화면으로");
pub(crate) const TO_PAGE_TITLE: Text = Text("You are led to the card page", "카드 결제 화면으로 이동합니다");
pub(crate) const TO_PAGE_HINT: Text = Text("The payment company asks for the card there, and leads you back to us. If nothing happens, use the button.", "결제 회사 화면에서 카드를 확인하고 다시 이곳으로 돌아옵니다. 화면이 바뀌지 않으면 버튼을 눌러 주세요.");

// Orders
pub(crate) const NO_ORDERS: Text = Text("No orders yet", "아직 주문이 없습니다");
pub(crate) const NO_ORDERS_HINT: Text = Text("An order appears here the moment it is placed, with its state and its refunds.", "주문하면 바로 이곳에 상태와 환불이 함께 나타납니다.");
pub(crate) const OLDER: Text = Text("Older orders", "이전 주문");
pub(crate) const ORDER: Text = Text("Order {0}", "주문 {0}");
pub(crate) const PLACED_AT: Text = Text("Placed", "주문 시각");
pub(crate) const PAID_AT: Text = Text("Paid", "결제 시각");
pub(crate) const GIVEN_BACK: Text = Text("Given back", "환불");
pub(crate) const PAYMENT_ID: Text = Text("Payment", "결제 번호");
pub(crate) const AND_MORE: Text = Text("{0} and {1} more", "{0} 외 {1}종");
pub(crate) const STATE_PLACED: Text = Text("Being paid", "결제 진행 중");
pub(crate) const STATE_PAID: Text = Text("Paid", "결제 완료");
pub(crate) const STATE_CANCELLED: Text = Text("Cancelled", "취소됨");
pub(crate) const STATE_FAILED: Text = Text("Not paid", "결제 실패");
pub(crate) const STATE_CANCELLING: Text = Text("Being cancelled", "취소 진행 중");
pub(crate) const PAID_NOW: Text = Text("Thank you. It is paid and yours.", "감사합니다. 결제가 끝났습니다.");
pub(crate) const FAILED_NOW: Text = Text("The payment did not work: {0}. Nothing was taken, and coupon and points are yours again.", "결제가 되지 않았습니다: {0}. 빠져나간 금액은 없고, 쿠폰과 포인트는 되돌아갔습니다.");
pub(crate) const CANCELLED_NOW: Text = Text("The order is cancelled.", "주문이 취소되었습니다.");
pub(crate) const WAITS_PAGE: Text = Text("Waiting for the card page. The goods are kept for you until {0}.", "카드 결제를 기다립니다. {0}까지 상품을 확보해 둡니다.");
pub(crate) const WAITS_PAGE_OPEN: Text = Text("Waiting for the card page. The goods are kept for you.", "카드 결제를 기다립니다. 상품은 확보해 두었습니다.");
pub(crate) const WAITS_ANSWER: Text = Text("Waiting for the payment company's answer. This page looks again by itself; you need not stay.", "결제 회사의 답을 기다립니다. 이 화면은 스스로 새로 고쳐지며, 나가셔도 괜찮습니다.");
pub(crate) const WAITS_OPERATOR: Text = Text("Somebody of ours has to look at this order. You need not do anything; nothing is lost.", "담당자가 이 주문을 확인하고 있습니다. 하실 일은 없으며, 잃는 것도 없습니다.");
pub(crate) const WAITS_REFUND: Text = Text("The refund is under way.", "환불이 진행 중입니다.");
pub(crate) const WAITS_ELSE: Text = Text("The order is being worked on.", "주문을 처리하고 있습니다.");
pub(crate) const WAITS_CANCEL: Text = Text("The cancellation is under way.", "취소를 진행하고 있습니다.");
pub(crate) const CANCEL: Text = Text("Cancel the order", "주문 취소");
pub(crate) const CANCEL_HINT_PLACED: Text = Text("Nothing has been taken yet. What was set aside is given back.", "아직 결제되지 않았습니다. 확보해 둔 것을 되돌립니다.");
pub(crate) const CANCEL_HINT_PAID: Text = Text("Everything that is left is given back: {0}.", "남은 금액 전부를 돌려드립니다: {0}.");
pub(crate) const RETURN: Text = Text("Return something", "일부 반품");
pub(crate) const RETURN_HINT: Text = Text("Say how many of each come back. What you paid for them is refunded, points as points.", "돌려보낼 수량을 적어 주세요. 낸 만큼 환불하며, 포인트는 포인트로 돌려드립니다.");
pub(crate) const RETURN_NOTHING: Text = Text("Say for at least one of the goods how many come back.", "하나 이상의 상품에 반품 수량을 적어 주세요.");
pub(crate) const RETURN_SEND: Text = Text("Return these", "반품하기");
pub(crate) const RETURN_QUANTITY: Text = Text("{0}: how many come back, at most {1}", "{0}: 반품 수량, 최대 {1}");
pub(crate) const RETURNED: Text = Text("{0} returned", "{0}개 반품");
pub(crate) const REASON: Text = Text("Reason", "사유");
pub(crate) const REASON_HINT: Text = Text("Too small, changed my mind …", "크기가 작아요, 마음이 바뀌었어요 …");
pub(crate) const REASON_NONE: Text = Text("asked for by the shopper", "고객 요청");
pub(crate) const REFUNDS: Text = Text("Refunds", "환불");
pub(crate) const REFUND_CANCEL: Text = Text("Cancellation", "취소");
pub(crate) const REFUND_RETURN: Text = Text("Return", "반품");
pub(crate) const REFUND_BEGUN: Text = Text("Under way", "진행 중");
pub(crate) const REFUND_DONE: Text = Text("Given back", "환불 완료");
pub(crate) const REFUND_REFUSED: Text = Text("Refused", "거절됨");
pub(crate) const BUY_AGAIN: Text = Text("Put these into the cart again", "장바구니에 다시 담기");
pub(crate) const LINES: Text = Text("Goods", "상품");
pub(crate) const CATCHING_UP: Text = Text("The list is catching up; the newest order may be missing for a moment.", "목록을 따라잡는 중입니다. 방금 한 주문이 잠시 빠져 있을 수 있습니다.");
pub(crate) const WHY_DECLINED: Text = Text("the card was declined", "카드가 거절되었습니다");
pub(crate) const WHY_EXPIRED: Text = Text("the time for it was over", "결제 시간이 지났습니다");
pub(crate) const WHY_LEFT: Text = Text("the card page was left", "카드 화면에서 그만두었습니다");

// Coupons and sale
pub(crate) const NO_COUPONS: Text = Text("No coupons yet", "아직 쿠폰이 없습니다");
pub(crate) const NO_COUPONS_HINT: Text = Text("Coupons that you claim in the sale are kept here.", "세일에서 받은 쿠폰이 이곳에 모입니다.");
pub(crate) const TO_SALE: Text = Text("To the sale", "세일 보러 가기");
pub(crate) const CLAIM: Text = Text("Claim the coupon", "쿠폰 받기");
pub(crate) const CLAIMED: Text = Text("The coupon is yours.", "쿠폰을 받았습니다.");
pub(crate) const CLAIMED_BEFORE: Text = Text("You have it already.", "이미 받은 쿠폰입니다.");
pub(crate) const SIGN_IN_TO_CLAIM: Text = Text("Sign in to claim", "로그인하고 받기");
pub(crate) const COUPONS_LEFT: Text = Text("left", "남음");
pub(crate) const COUPONS_OF: Text = Text("of {0}", "전체 {0}장");
pub(crate) const COUPONS_UNLIMITED: Text = Text("As many as are wanted", "수량 제한 없음");
pub(crate) const SALE_TITLE: Text = Text("On sale now", "지금 받을 수 있는 쿠폰");
pub(crate) const SALE_NONE: Text = Text("No sale at the moment", "지금은 세일이 없습니다");
pub(crate) const SALE_NONE_HINT: Text = Text("When a campaign opens, its coupons can be claimed here.", "캠페인이 열리면 이곳에서 쿠폰을 받을 수 있습니다.");
pub(crate) const SALE_OVER: Text = Text("All of them are taken. Thank you for coming.", "모두 나갔습니다. 찾아 주셔서 고맙습니다.");
pub(crate) const SALE_STARTS: Text = Text("Opens {0}", "{0} 시작");
pub(crate) const SALE_ENDS: Text = Text("Until {0}", "{0}까지");
pub(crate) const SALE_PAUSED: Text = Text("Paused for a moment", "잠시 멈춤");
pub(crate) const LIVE: Text = Text("Live: this number moves by itself.", "실시간: 숫자가 스스로 바뀝니다.");
pub(crate) const LIVE_BROKEN: Text = Text("No news since {0}.", "{0} 이후 소식이 없습니다.");
pub(crate) const OFF_AMOUNT: Text = Text("{0} off", "{0} 할인");
pub(crate) const OFF_PERCENT: Text = Text("{0} % off", "{0} % 할인");
pub(crate) const OFF_PERCENT_CAPPED: Text = Text("{0} % off, at most {1}", "{0} % 할인, 최대 {1}");
pub(crate) const OFF_SHIPPING: Text = Text("Free delivery", "무료 배송");
pub(crate) const FROM_ORDER: Text = Text("for orders from {0}", "{0} 이상 주문 시");
pub(crate) const EACH_MEMBER: Text = Text("{0} for each member", "한 분당 {0}장");
pub(crate) const COUPON_ISSUED: Text = Text("Ready to use", "사용 가능");
pub(crate) const COUPON_HELD: Text = Text("Kept for {0}", "{0}에 쓰는 중");
pub(crate) const COUPON_REDEEMED: Text = Text("Used for {0}", "{0}에 사용함");
pub(crate) const COUPON_REVOKED: Text = Text("Taken back", "회수됨");
pub(crate) const COUPON_EXPIRED: Text = Text("Expired", "기간 만료");
pub(crate) const VALID_UNTIL: Text = Text("until {0}", "{0}까지");
pub(crate) const VALID_FOREVER: Text = Text("without end", "기한 없음");
pub(crate) const COUPON_TO_CART: Text = Text("Use for my cart", "장바구니에 쓰기");
pub(crate) const ENTER_CODE: Text = Text("Have a code?", "코드가 있으신가요?");

// Points
pub(crate) const POINTS_BALANCE: Text = Text("Your points", "보유 포인트");
pub(crate) const POINTS_UNIT: Text = Text("{0} points", "{0} 포인트");
pub(crate) const POINTS_HELD: Text = Text("{0} of them are set aside for an order.", "그중 {0}는 주문에 잡혀 있습니다.");
pub(crate) const POINTS_HINT: Text = Text("One point is one won. Say at checkout how many to use.", "1포인트는 1원입니다. 주문할 때 쓸 만큼 적어 주세요.");
pub(crate) const POINTS_WELCOME: Text = Text("Take {0} demonstration points", "시연용 {0} 받기");
pub(crate) const POINTS_WELCOME_HINT: Text = Text("Once for each name, to try paying with points.", "포인트 결제를 시험해 보도록 이름마다 한 번 드립니다.");
pub(crate) const POINTS_TAKEN: Text = Text("The points are yours.", "포인트를 받았습니다.");

// Signing in
pub(crate) const SIGN_IN_TITLE: Text = Text("Demonstration sign-in", "시연용 로그인");
pub(crate) const SIGN_IN_HINT: Text = Text("There is no password: whoever gives a name is that member. A real shop puts its own sign-in here.", "비밀번호가 없습니다. 이름을 적으면 그 회원이 됩니다. 실제 상점은 자체 로그인을 씁니다.");
pub(crate) const MEMBER_NAME: Text = Text("Member name", "회원 이름");
pub(crate) const MEMBER_RULE: Text = Text("1 to 32 of a–z, 0–9, dot, dash.", "영문 소문자, 숫자, 점, 줄표로 1–32자.");
pub(crate) const MEMBER_WRONG: Text = Text("Use 1 to 32 of a–z, 0–9, dot and dash, such as mina.", "mina처럼 영문 소문자, 숫자, 점, 줄표로 1–32자를 적어 주세요.");
pub(crate) const MEMBER_SAMPLES: Text = Text("Members with sample points:", "견본 포인트가 있는 회원:");
pub(crate) const SIGNED_IN_AS: Text = Text("Signed in as {0}", "{0} 님");
