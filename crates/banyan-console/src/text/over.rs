//! The way over from an old shop: phases, moves, the wizard, comparison, lags, who is left.

use super::Text;
use banyan_domain::legacy::{MoveStep, Phase};

pub(crate) const OVER: Text = Text("Way over", "이전");
pub(crate) const CAPABILITY: Text = Text("capability", "기능");
pub(crate) const NO_OLD_SHOP: Text = Text("No old shop is configured", "기존 쇼핑몰이 설정되지 않았습니다");
pub(crate) const NO_OLD_SHOP_HINT: Text = Text("A mapping file says which tables and columns of the old shop's database hold the stock. With it the stock moves over one phase at a time, and back, while the shop runs. Check the file first: banyan legacy check.", "매핑 파일은 기존 쇼핑몰의 어느 테이블과 열에 재고가 있는지 말합니다. 운영 중에 한 단계씩 옮기고 되돌릴 수 있습니다. 먼저 banyan legacy check로 확인하세요.");
pub(crate) const PHASES: Text = Text("Phases", "단계");
pub(crate) const PHASE_LEGACY: Text = Text("legacy", "기존");
pub(crate) const PHASE_MIRROR: Text = Text("mirror", "미러");
pub(crate) const PHASE_LEAD: Text = Text("lead", "주도");
pub(crate) const PHASE_RETIRED: Text = Text("retired", "퇴역");
pub(crate) const PHASE_LEGACY_WHAT: Text = Text("The old shop has it; nothing is known of it here.", "기존 쇼핑몰에만 있고 여기서는 모릅니다.");
pub(crate) const PHASE_MIRROR_WHAT: Text = Text("The old shop decides; every change of its rows is followed here.", "기존 쇼핑몰이 결정하고, 모든 변경을 여기서 따라갑니다.");
pub(crate) const PHASE_LEAD_WHAT: Text = Text("Banyan decides; the old columns follow.", "Banyan이 결정하고, 기존 열이 따라갑니다.");
pub(crate) const PHASE_RETIRED_WHAT: Text = Text("Banyan has it; the old columns are not kept any more.", "Banyan에만 있고, 기존 열은 더 유지하지 않습니다.");
pub(crate) const STANDS_HERE: Text = Text("now", "현재");
pub(crate) const SINCE: Text = Text("since", "시작");
pub(crate) const ON_ITS_WAY: Text = Text("on its way", "이동 중");
pub(crate) const OVER_CHANGED: Text = Text("It has moved since this page was made: what may be done now is not what stands here.", "이 화면을 만든 뒤 상태가 바뀌었습니다. 지금 할 수 있는 일이 다릅니다.");
pub(crate) const LOAD_AGAIN: Text = Text("Load it again", "다시 불러오기");

// The move.
pub(crate) const MOVE_UNDER_WAY: Text = Text("Move under way", "진행 중인 이동");
pub(crate) const NO_MOVE: Text = Text("None: it stays in its phase.", "없음: 현재 단계를 유지합니다.");
pub(crate) const MOVE_N: Text = Text("move {0}", "이동 {0}");
pub(crate) const GOES_BY_ITSELF: Text = Text("It goes on by itself, also after a crash.", "중단되더라도 스스로 이어서 진행합니다.");
pub(crate) const STEP_UNDER_WAY: Text = Text("under way", "진행 중");
pub(crate) const ONE_MOVE: Text = Text("A move is under way. It can be given up until the old database was told; after that it is fenced off and undone there first.", "이동이 진행 중입니다. 중단할 수 있으며, 기존 데이터베이스에 이미 알렸다면 거기서 먼저 막고 되돌립니다.");
pub(crate) const ABORT_MOVE: Text = Text("Give the move up", "이동 중단");
pub(crate) const ABORT_WHAT: Text = Text("Everything stays in the phase it is in. What was prepared in the old database stays there for the next time.", "모두 현재 단계에 머뭅니다. 기존 데이터베이스에 준비한 것은 다음을 위해 남습니다.");
pub(crate) const MOVE_GIVEN_UP: Text = Text("The move was given up.", "이동을 중단했습니다.");
pub(crate) const MOVE_BEGUN: Text = Text("The move has begun.", "이동을 시작했습니다.");
pub(crate) const MOVE_BEGUN_N: Text = Text("It is move {0}; its steps stand below as they are done.", "이동 {0}입니다. 단계가 끝나는 대로 아래에 표시됩니다.");
pub(crate) const MOVES: Text = Text("Moves", "이동 이력");
pub(crate) const ALL_MOVES: Text = Text("all", "전체");
pub(crate) const NO_MOVES: Text = Text("None lately.", "최근에 없습니다.");
pub(crate) const MOVES_SO_FAR: Text = Text("Moves so far", "지금까지의 이동");

/// A step of a move.
pub(crate) const fn move_step(step: MoveStep) -> Text {
    match step {
        MoveStep::Checked => Text("Check", "확인"),
        MoveStep::Prepared => Text("Prepare", "준비"),
        MoveStep::Copied => Text("Copy", "복사"),
        MoveStep::Compared => Text("Compare", "비교"),
        MoveStep::Drained => Text("Drain", "비우기"),
        MoveStep::Flushed => Text("Bring up to date", "최신화"),
        MoveStep::Switched => Text("Hand over", "인계"),
        MoveStep::Cleared => Text("Clear up", "정리"),
    }
}

// The wizard.
pub(crate) const WIZARD_HINT: Text = Text("One phase at a time, forward or back. The plan shows each step and what must be so before; nothing happens until you confirm it.", "한 번에 한 단계씩 앞뒤로 움직입니다. 계획에서 단계와 조건을 보고 확인하기 전에는 아무 일도 일어나지 않습니다.");
pub(crate) const PLAN_NEXT: Text = Text("Plan the move to {0}", "{0}(으)로 이동 계획");
pub(crate) const PLAN_BACK: Text = Text("Plan the way back to {0}", "{0}(으)로 되돌리기 계획");
pub(crate) const PLAN_TITLE: Text = Text("Plan: {0} → {1}", "계획: {0} → {1}");
pub(crate) const PLAN_HINT: Text = Text("The old database was looked at just now. Nothing was changed.", "방금 기존 데이터베이스를 확인했습니다. 아무것도 바뀌지 않았습니다.");
pub(crate) const PLAN_STEPS: Text = Text("What will be done", "할 일");
pub(crate) const NOT_NEXT: Text = Text("These phases are not beside each other: a capability moves one phase at a time.", "이웃한 단계가 아닙니다. 한 번에 한 단계씩 움직입니다.");
pub(crate) const NO_SUCH_PHASE: Text = Text("No such phase", "없는 단계");
pub(crate) const NO_SUCH_PHASE_HINT: Text = Text("The phases are legacy, mirror, lead and retired.", "단계는 legacy, mirror, lead, retired입니다.");
pub(crate) const GATES: Text = Text("What must be so", "조건");
pub(crate) const GATE: Text = Text("Gate", "조건");
pub(crate) const FOUND: Text = Text("Found", "확인한 값");
pub(crate) const NEEDED: Text = Text("Needed", "필요한 것");
pub(crate) const GATES_CLOSED: Text = Text("The move cannot begin: mend what does not hold, then look again.", "시작할 수 없습니다. 충족하지 않는 것을 고친 뒤 다시 확인하세요.");
pub(crate) const LOOK_AGAIN: Text = Text("Look again", "다시 확인");
pub(crate) const GO_WITHOUT: Text = Text("go on without it", "없이 진행");
pub(crate) const OVERRIDE_HINT: Text = Text("What does not hold may be passed over here, by ticking it and writing why. Both are kept in the log.", "충족하지 않는 조건은 표시하고 이유를 적으면 넘어갈 수 있습니다. 로그에 남습니다.");
pub(crate) const BEGIN_MOVE: Text = Text("Begin the move", "이동 시작");
pub(crate) const BEGIN_TO: Text = Text("Move to {0}", "{0}(으)로 이동");
pub(crate) const MOVE_REASON_EXAMPLE: Text = Text("such as: equal for a week, the team agreed", "예: 일주일 동안 일치, 팀 합의");
pub(crate) const TYPE_PHASE: Text = Text("Type {0} to confirm", "확인하려면 {0} 입력");
pub(crate) const CONFIRM_WRONG: Text = Text("Nothing was begun. Type {0} in the last field to confirm.", "시작하지 않았습니다. 마지막 칸에 {0}을(를) 입력해 확인하세요.");
pub(crate) const BACK: Text = Text("Back", "뒤로");
pub(crate) const PHASE_CHANGED: Text = Text("The plan was one from {0}; it stands in {1} now. Nothing was begun.", "{0}에서 시작하는 계획이었지만 지금은 {1}입니다. 시작하지 않았습니다.");
pub(crate) const GATES_STOPPED: Text = Text("Nothing was begun. What does not hold: {0}", "시작하지 않았습니다. 충족하지 않는 것: {0}");

/// What confirming a move means.
pub(crate) const fn begins(from: Phase, to: Phase) -> Text {
    match (from, to) {
        (Phase::Legacy, _) => Text("The old shop goes on as before. What Banyan makes in its database are two small tables and a stream. The way back is one move.", "기존 쇼핑몰은 그대로 운영됩니다. 그 데이터베이스에는 작은 테이블 둘과 스트림만 만듭니다. 이동 한 번으로 되돌릴 수 있습니다."),
        (Phase::Mirror, Phase::Lead) => Text("Who decides about stock changes in one moment, at one position of the old database's stream. Orders of the old shop wait for that moment, a few seconds at most. The way back is one move.", "재고를 결정하는 쪽이 기존 데이터베이스 스트림의 한 지점에서 바뀝니다. 기존 쇼핑몰의 주문은 그 순간까지 최대 몇 초 기다립니다. 이동 한 번으로 되돌릴 수 있습니다."),
        (Phase::Lead, Phase::Mirror) => Text("The old shop decides again. Nothing is reserved here from the beginning of the move on; what is reserved is waited for.", "기존 쇼핑몰이 다시 결정합니다. 시작부터 여기서는 예약하지 않고, 이미 예약된 것은 끝나기를 기다립니다."),
        (Phase::Lead, _) => Text("The old columns are not kept any more from then on: whoever still reads them reads old numbers. The way back writes them anew.", "그때부터 기존 열을 유지하지 않습니다. 아직 읽는 곳은 옛 숫자를 보게 됩니다. 되돌리면 다시 씁니다."),
        (Phase::Retired, _) => Text("The old columns are written anew and follow again.", "기존 열을 다시 쓰고 따라가게 합니다."),
        (Phase::Mirror, _) => Text("The stream is given up and nothing is followed any more. Coming again begins with a new copy.", "스트림을 버리고 더 따라가지 않습니다. 다시 시작하면 새로 복사합니다."),
    }
}

/// The name of a gate.
pub(crate) fn gate(name: &str) -> Text {
    match name {
        "preflight" => Text("Preflight of the old database", "기존 데이터베이스 사전 점검"),
        "stream" => Text("The stream in", "들어오는 스트림"),
        "sync-out" => Text("The sync out", "나가는 동기화"),
        "lag" => Text("Lag", "지연"),
        "equal" => Text("Both sides equal", "양쪽 일치"),
        "evidence" => Text("Evidence of the routes", "경로의 근거"),
        "holds" => Text("Open reservations", "열린 예약"),
        "references" => Text("Who still touches it", "아직 쓰는 곳"),
        _ => Text("Another condition", "다른 조건"),
    }
}

// How it goes.
pub(crate) const ITEMS: Text = Text("Items of the old shop", "기존 쇼핑몰 품목");
pub(crate) const ITEMS_SHORT: Text = Text("Oversold there", "초과 판매");
pub(crate) const BREACHES: Text = Text("Breaches", "침범");
pub(crate) const OUTBOX_REFUSED: Text = Text("Refused messages", "거절한 메시지");
pub(crate) const HOLDS_WAITING: Text = Text("Holds that wait for the stream", "스트림을 기다리는 예약");
pub(crate) const REFERENCES_LEFT: Text = Text("References left", "남은 참조");
pub(crate) const COMPARISON: Text = Text("Comparison", "비교");
pub(crate) const NEVER_COMPARED: Text = Text("Both sides were never compared.", "아직 비교한 적이 없습니다.");
pub(crate) const BOTH_EQUAL: Text = Text("both sides are equal", "양쪽이 같음");
pub(crate) const DIFFERED_REPAIRED: Text = Text("differed, put right", "달랐으나 고침");
pub(crate) const BOTH_DIFFER: Text = Text("both sides differ", "양쪽이 다름");
pub(crate) const AS_OF_POSITION: Text = Text("as of position", "기준 위치");
pub(crate) const ROWS_COMPARED: Text = Text("rows compared", "비교한 행");
pub(crate) const ROWS_DIFFERED: Text = Text("rows that differed", "달랐던 행");
pub(crate) const ROWS_REPAIRED: Text = Text("of these put right", "고친 행");
pub(crate) const COMPARE_NOW: Text = Text("Compare now", "지금 비교");
pub(crate) const COMPARE_WHAT: Text = Text("What differs is put right from the side that decides.", "다른 것은 결정하는 쪽의 값으로 고칩니다.");
pub(crate) const COMPARED_NOW: Text = Text("Compared.", "비교했습니다.");
pub(crate) const COMPARED_RESULT: Text = Text("{0} rows, of which {1} still differ.", "{0}행 중 {1}행이 아직 다릅니다.");
pub(crate) const STILL_COMPARING: Text = Text("The comparison goes on; its result will stand here when it is done.", "비교가 계속됩니다. 끝나면 여기에 결과가 보입니다.");
pub(crate) const LAGS: Text = Text("Lag, the last ten minutes", "지연, 최근 10분");
pub(crate) const LAG: Text = Text("lag", "지연");
pub(crate) const SYNC: Text = Text("Sync", "동기화");
pub(crate) const SYNC_IN: Text = Text("In: from the old database", "들어옴: 기존 데이터베이스에서");
pub(crate) const SYNC_OUT: Text = Text("Out: to the old columns", "나감: 기존 열로");
pub(crate) const SYNC_RUNS: Text = Text("follows", "따라감");
pub(crate) const SYNC_RESTS: Text = Text("does not run", "실행하지 않음");
pub(crate) const IN_TROUBLE: Text = Text("in trouble", "문제 있음");
pub(crate) const TRANSACTIONS: Text = Text("transactions", "트랜잭션");
pub(crate) const ROWS: Text = Text("rows", "행");
pub(crate) const ECHOES: Text = Text("own writes that came back", "되돌아온 자체 쓰기");
pub(crate) const POSITION: Text = Text("applied up to", "적용 위치");
pub(crate) const WRITTEN_TO: Text = Text("written up to event", "기록한 이벤트");
pub(crate) const ROWS_ASIDE: Text = Text("Rows set aside", "보류한 행");
pub(crate) const ROWS_ASIDE_WHY: Text = Text("The old table refuses these rows as they should be. The others go on. The first:", "기존 테이블이 이 행들의 값을 거부합니다. 다른 행은 계속 기록합니다. 첫 행:");
pub(crate) const ROWS_ASIDE_WHAT: Text = Text("Correct the table's rule, or count the item: each is tried again when its item changes, and once a minute. Until then readers of the old columns see old numbers there, and the stock does not go back to the old shop.", "테이블의 규칙을 고치거나 품목을 다시 세세요. 품목이 바뀔 때와 1분마다 다시 시도합니다. 그때까지 기존 열에는 옛 숫자가 보이고, 재고를 기존 쇼핑몰로 되돌릴 수 없습니다.");
pub(crate) const HEALTH_OF_STREAM: Text = Text("How the old database sees us", "기존 데이터베이스가 보는 상태");
pub(crate) const NOT_LOOKED_YET: Text = Text("Not asked yet: it is asked every few seconds once something is followed.", "아직 묻지 않았습니다. 따라가기 시작하면 몇 초마다 묻습니다.");
pub(crate) const CANNOT_ASK: Text = Text("The old database could not be asked:", "기존 데이터베이스에 물을 수 없습니다:");
pub(crate) const STREAM: Text = Text("stream", "스트림");
pub(crate) const COPYING: Text = Text("being copied", "복사 중");
pub(crate) const SLOT_STATUS: Text = Text("slot", "슬롯");
pub(crate) const IS_READ: Text = Text("is read", "읽는 중");
pub(crate) const IS_NOT_READ: Text = Text("nobody reads it", "읽지 않음");
pub(crate) const KEPT_AT_MOST: Text = Text("of at most", "최대");
pub(crate) const KEPT_FOR_US: Text = Text("kept because of us", "우리 때문에 보관");
pub(crate) const SAFE_BYTES: Text = Text("room before it gives us up", "끊기기까지 여유");
pub(crate) const BREACHES_AND_REFUSED: Text = Text("Breaches and refused messages", "침범과 거절한 메시지");
pub(crate) const ALL_BREACHES: Text = Text("all breaches", "모든 침범");
pub(crate) const ALL_BULK_BREACHES: Text = Text("of many rows", "여러 행");
pub(crate) const WRITES_N: Text = Text("{0} writes:", "쓰기 {0}건:");
pub(crate) const ALL_REFUSED: Text = Text("all refused", "모든 거절");
pub(crate) const NO_BREACHES: Text = Text("None lately: nobody else writes to what Banyan owns, and everything the old shop said could be done.", "최근에 없습니다. 다른 곳에서 Banyan의 열에 쓰지 않고, 기존 쇼핑몰의 요청은 모두 처리했습니다.");
pub(crate) const MESSAGE_N: Text = Text("message {0}:", "메시지 {0}:");
pub(crate) const REFERENCE_LEDGER: Text = Text("Reference ledger", "참조 장부");
pub(crate) const LEFT_WITHIN: Text = Text("Left is who touched it in the last {0}.", "최근 {0} 안에 쓴 것이 남은 것입니다.");
pub(crate) const WHAT_IS_TOUCHED: Text = Text("What", "무엇");
pub(crate) const BY_SQL: Text = Text("SQL", "SQL");
pub(crate) const BY_ROUTE: Text = Text("route", "경로");
pub(crate) const MAPPED: Text = Text("Mapped tables", "매핑된 테이블");
pub(crate) const OLD_TABLE: Text = Text("Table", "테이블");
pub(crate) const IN_STOCK_COLUMN: Text = Text("in stock", "재고");
pub(crate) const ALLOCATED_COLUMN: Text = Text("allocated", "할당");
