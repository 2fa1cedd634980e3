//! The gateway: routes, traffic, copies, evidence, mismatches, callers.

use super::Text;

// The table.
pub(crate) const GATEWAY: Text = Text("Gateway", "게이트웨이");
pub(crate) const NO_GATEWAY: Text = Text("No gateway in this process", "이 프로세스에 게이트웨이가 없습니다");
pub(crate) const NO_GATEWAY_HINT: Text = Text("The gateway stands in front of the old shop and moves it over one route at a time. Its routes, their traffic and their evidence stand here when it runs beside the server.", "게이트웨이는 기존 쇼핑몰 앞에서 경로를 하나씩 옮깁니다. 서버와 함께 실행하면 경로, 트래픽, 근거가 여기에 보입니다.");
pub(crate) const GATEWAY_ALONE: Text = Text("A gateway that runs alone (banyan gateway --config FILE) is another process: the console cannot reach it. Its admin API shows and changes the same.", "따로 실행한 게이트웨이(banyan gateway --config FILE)는 다른 프로세스라서 콘솔이 볼 수 없습니다. 관리 API로 같은 것을 보고 바꿀 수 있습니다.");
pub(crate) const TABLE_VERSION: Text = Text("table version {0}", "테이블 버전 {0}");
pub(crate) const ROUTES: Text = Text("Routes", "경로");
pub(crate) const ROUTE: Text = Text("Route", "경로");
pub(crate) const LAST_SECONDS: Text = Text("the last ten seconds", "최근 10초");
pub(crate) const FROM_TO: Text = Text("old shop {0} · Banyan {1}", "기존 쇼핑몰 {0} · Banyan {1}");
pub(crate) const MODE_LEGACY: Text = Text("legacy", "기존");
pub(crate) const MODE_SHADOW: Text = Text("shadow", "섀도");
pub(crate) const MODE_CANARY: Text = Text("canary", "카나리");
pub(crate) const MODE_BANYAN: Text = Text("banyan", "banyan");
pub(crate) const MODE_LEGACY_WHAT: Text = Text("the old shop answers everybody", "기존 쇼핑몰이 모두 응답");
pub(crate) const MODE_SHADOW_WHAT: Text = Text("the old shop answers; copies go to Banyan and are compared", "기존 쇼핑몰이 응답하고, 사본을 Banyan에 보내 비교");
pub(crate) const MODE_CANARY_WHAT: Text = Text("Banyan answers the share below, the old shop everybody else", "아래 비율만 Banyan이, 나머지는 기존 쇼핑몰이 응답");
pub(crate) const MODE_BANYAN_WHAT: Text = Text("Banyan answers everybody", "Banyan이 모두 응답");
pub(crate) const SIDE_LEGACY: Text = Text("Old shop", "기존 쇼핑몰");
pub(crate) const SIDE_BANYAN: Text = Text("Banyan", "Banyan");
pub(crate) const ERRORS_PER_SECOND: Text = Text("errors/s", "오류/초");
pub(crate) const SPLIT_WORDS: Text = Text("{0} answered by Banyan", "Banyan 응답 {0}");
pub(crate) const NO_LOOK_YET: Text = Text("Counted from now on.", "지금부터 셉니다.");

// Changing a route.
pub(crate) const CHANGE_ROUTE: Text = Text("Change who answers", "응답 주체 변경");
pub(crate) const CHANGE_ONE: Text = Text("Change route {0}", "경로 {0} 변경");
pub(crate) const CHANGE_WHAT: Text = Text("Every request that comes after it follows the new version of the table. It can be taken back.", "이후의 모든 요청은 새 버전을 따릅니다. 되돌릴 수 있습니다.");
pub(crate) const WHO_ANSWERS: Text = Text("Who answers", "응답 주체");
pub(crate) const CANARY_SHARE: Text = Text("Banyan's share in mode canary", "카나리 모드의 Banyan 비율");
pub(crate) const RAMP_ENDS: Text = Text("The route has a ramp. Setting a share by hand ends it.", "이 경로에는 예약된 단계가 있습니다. 비율을 직접 정하면 예약이 끝납니다.");
pub(crate) const ROUTE_REASON_EXAMPLE: Text = Text("such as: a day without mismatches", "예: 하루 동안 불일치 없음");
pub(crate) const BAD_CANARY_SHARE: Text = Text("The share must be a number from 0 to 100, in steps of 0.01.", "비율은 0에서 100까지 0.01 단위의 숫자여야 합니다.");
pub(crate) const NOTHING_CHANGES: Text = Text("The route is like that already. Nothing was changed.", "이미 그 상태입니다. 아무것도 바뀌지 않았습니다.");
pub(crate) const TABLE_STALE: Text = Text("Somebody changed the table meanwhile: you saw version {0}, it is at {1} now. Nothing was changed. Look at the table as it is now, then ask again.", "그사이 다른 사람이 테이블을 바꿨습니다. 버전 {0}을 보셨지만 지금은 {1}입니다. 아무것도 바뀌지 않았습니다. 지금 상태를 보고 다시 요청하세요.");
pub(crate) const NO_SUCH_ROUTE: Text = Text("No such route", "없는 경로");
pub(crate) const NO_SUCH_ROUTE_HINT: Text = Text("The table has no route {0}. It may have been taken out: the history says when.", "테이블에 {0} 경로가 없습니다. 삭제되었을 수 있습니다. 이력을 확인하세요.");
pub(crate) const IN_FORCE: Text = Text("Version {0} is in force.", "버전 {0}이 적용되었습니다.");
pub(crate) const WAY_BACK: Text = Text("The way back:", "되돌리려면:");
pub(crate) const PAUSE_RAMP: Text = Text("Pause the ramp", "예약 단계 멈춤");
pub(crate) const PAUSE_RAMP_WHAT: Text = Text("The share stays where it is now until the ramp goes on.", "다시 진행할 때까지 지금 비율을 유지합니다.");
pub(crate) const RESUME_RAMP: Text = Text("Let the ramp go on", "예약 단계 재개");
pub(crate) const RESUME_RAMP_WHAT: Text = Text("The share jumps to where the ramp is by now: steps that passed meanwhile are not made up for.", "지금 시각의 단계로 바로 갑니다. 그사이 지난 단계는 건너뜁니다.");
pub(crate) const RESTART_EVIDENCE: Text = Text("Begin the evidence anew", "근거 다시 모으기");
pub(crate) const RESTART_EVIDENCE_WHAT: Text = Text("What was seen so far is forgotten: something else is running there now.", "지금까지 본 것을 버립니다. 이제 다른 것이 실행 중일 때 씁니다.");
pub(crate) const EVIDENCE_RESTARTED: Text = Text("The evidence is gathered anew from now on.", "지금부터 근거를 다시 모읍니다.");

// History and servers.
pub(crate) const GATEWAY_HISTORY: Text = Text("History of the table", "테이블 이력");
pub(crate) const TOOK_BACK: Text = Text("Took version {0} back.", "버전 {0}을 되돌림.");
pub(crate) const ROUTE_ADDED: Text = Text("added,", "추가,");
pub(crate) const ROUTE_REMOVED: Text = Text("removed", "삭제");
pub(crate) const ROUTE_RULES: Text = Text("its rules were changed", "규칙 변경");
pub(crate) const TAKE_BACK: Text = Text("Take back", "되돌리기");
pub(crate) const TAKE_BACK_ONE: Text = Text("Take version {0} back", "버전 {0} 되돌리기");
pub(crate) const REORDERED: Text = Text("The order of the routes was changed.", "경로의 순서를 바꿨습니다.");
pub(crate) const TAKE_BACK_WHAT: Text = Text("A new version is made in which every route that this one touched is as it was before. Refused if one of them was changed again since.", "이 버전이 바꾼 경로를 그 전 상태로 돌린 새 버전을 만듭니다. 그 뒤 다시 바뀐 경로가 있으면 거절됩니다.");
pub(crate) const SERVERS: Text = Text("Servers", "서버");
pub(crate) const SERVER: Text = Text("Server", "서버");
pub(crate) const BREAKER: Text = Text("Breaker", "차단기");
pub(crate) const UNDER_WAY: Text = Text("Under way", "처리 중");
pub(crate) const REQUESTS: Text = Text("Requests", "요청");
pub(crate) const FAILURES: Text = Text("Failures", "실패");
pub(crate) const SERVER_WELL: Text = Text("well", "정상");
pub(crate) const SERVER_DOWN: Text = Text("does not answer", "응답 없음");

/// The state of a breaker.
pub(crate) fn breaker(state: &str) -> Text {
    match state {
        "closed" => Text("closed: requests go through", "닫힘: 요청 통과"),
        "open" => Text("open: no requests for a while", "열림: 잠시 요청 중단"),
        _ => Text("half open: trying one", "반열림: 시험 중"),
    }
}

// Callers.
pub(crate) const CALLERS: Text = Text("Callers of what is to go", "사라질 것을 부르는 호출자");
pub(crate) const NO_CALLERS_WATCHED: Text = Text("No route says what it touches. Write touches = [\"stock\"] at the routes whose handlers use the old tables, and who calls them is counted here.", "touches를 적은 경로가 없습니다. 기존 테이블을 쓰는 경로에 touches = [\"stock\"]을 적으면 호출자를 여기서 셉니다.");
pub(crate) const N_LEFT: Text = Text("{0} left", "{0}개 남음");
pub(crate) const CALLERS_WITHIN: Text = Text("Left is who was answered by the old shop in the last {0}.", "최근 {0} 안에 기존 쇼핑몰의 응답을 받은 호출자가 남은 것입니다.");
pub(crate) const NOT_WATCHED_YET: Text = Text("It has not been watched for that long yet, so none left proves nothing.", "아직 그만큼 지켜보지 않았으므로 0이어도 증명이 아닙니다.");
pub(crate) const WATCHED_SINCE: Text = Text("Watched since", "관찰 시작");
pub(crate) const CALLER: Text = Text("Caller", "호출자");
pub(crate) const STILL_LEFT: Text = Text("Left", "남음");
pub(crate) const IS_LEFT: Text = Text("left", "남음");
pub(crate) const IS_GONE: Text = Text("gone", "사라짐");
pub(crate) const LAST_AT_LEGACY: Text = Text("Last answered by the old shop", "기존 쇼핑몰의 마지막 응답");

// One route.
pub(crate) const TRAFFIC: Text = Text("Traffic", "트래픽");
pub(crate) const MATCHES: Text = Text("matches", "조건");
pub(crate) const REWRITE: Text = Text("path rewritten", "경로 바꿈");
pub(crate) const CANARY_BY: Text = Text("canary by", "카나리 기준");
pub(crate) const RAMP: Text = Text("ramp", "예약 단계");
pub(crate) const RAMP_PAUSED: Text = Text("paused", "멈춤");
pub(crate) const TOUCHES: Text = Text("touches", "관련 기능");
pub(crate) const COPIES: Text = Text("Copies", "사본");
pub(crate) const NO_COPIES: Text = Text("Nothing was copied yet. In modes shadow and canary copies of requests go to the other side and both answers are compared.", "아직 사본이 없습니다. 섀도와 카나리 모드에서는 요청 사본을 다른 쪽에 보내 두 응답을 비교합니다.");
pub(crate) const COMPARED: Text = Text("Compared", "비교");
pub(crate) const EQUAL: Text = Text("Equal", "같음");
pub(crate) const MISMATCHED: Text = Text("Mismatched", "불일치");
pub(crate) const ONLY_NOISE: Text = Text("Equal but for noise", "잡음만 다름");
pub(crate) const ONLY_IGNORED: Text = Text("Equal but for what is ignored", "무시한 것만 다름");
pub(crate) const COPY_ERRORS: Text = Text("Errors of the copies", "사본 오류");
pub(crate) const COPIES_WAIT: Text = Text("Waiting and under way", "대기 및 처리 중");
pub(crate) const SKIPPED_OF: Text = Text("Skipped: {0} of {1} requests", "건너뜀: 요청 {1}개 중 {0}개");
pub(crate) const NOISE_HIDDEN: Text = Text("Hidden as noise: {0} places", "잡음으로 숨긴 곳: {0}");
pub(crate) const NOISE_SEEN: Text = Text("the old shop differed from itself {0} of {1} times", "기존 쇼핑몰이 {1}번 중 {0}번 스스로와 달랐음");

/// Why a request was not compared.
pub(crate) fn skipped(reason: &str) -> Text {
    match reason {
        "sampling" => Text("not in the share that is copied", "사본 비율에 들지 않음"),
        "queue-full" => Text("the route's queue was full", "경로의 대기열이 가득 참"),
        "budget" => Text("the memory for copies was full", "사본 메모리가 가득 참"),
        "body-too-large" => Text("the request's body is too long to copy", "요청 본문이 너무 김"),
        "write-not-dry-run" => Text("a write, and no dry run is declared", "쓰기인데 시험 실행이 선언되지 않음"),
        "dry-run-unproven" => Text("a write, and the dry run is not proven yet", "쓰기인데 시험 실행이 아직 확인되지 않음"),
        "dry-run-refused" => Text("a write, and Banyan did not confirm the dry run", "쓰기인데 Banyan이 시험 실행을 확인하지 않음"),
        "write-to-legacy" => Text("a write that Banyan answered: never copied to the old shop", "Banyan이 응답한 쓰기: 기존 쇼핑몰에는 복사하지 않음"),
        "method" => Text("a method that is never copied", "복사하지 않는 메서드"),
        "upgrade" => Text("a connection that becomes something else", "업그레이드 연결"),
        "conditional" => Text("conditional, or for a part only", "조건부 또는 부분 요청"),
        "loop" => Text("it was a copy itself", "그 자체가 사본"),
        "user-answer-failed" => Text("the user's answer broke off", "사용자 응답이 끊김"),
        "user-gone" => Text("the user went away", "사용자가 떠남"),
        "user-answer-too-large" => Text("the user's answer is too long to compare", "사용자 응답이 너무 김"),
        "streaming" => Text("an endless stream", "끝없는 스트림"),
        "upstream-busy" => Text("the other side had room for users only", "다른 쪽에 사용자 자리만 남음"),
        "upstream-down" => Text("the other side could not be reached", "다른 쪽에 연결할 수 없음"),
        "timeout" => Text("the other side took too long", "다른 쪽이 너무 느림"),
        "broken-answer" => Text("the other side broke off", "다른 쪽 응답이 끊김"),
        "answer-too-large" => Text("the other side's answer is too long", "다른 쪽 응답이 너무 김"),
        "unjudged" => Text("too different or too large to judge", "판단할 수 없을 만큼 크거나 다름"),
        "stopping" => Text("the gateway was stopping", "게이트웨이 종료 중"),
        _ => Text("another reason", "다른 이유"),
    }
}

// Evidence.
pub(crate) const EVIDENCE: Text = Text("Evidence", "근거");
pub(crate) const EVIDENCE_NONE: Text = Text("The route has no rules of evidence: only a person changes its mode. Write an evidence table at the route to let it go forward and back by itself.", "근거 규칙이 없어 사람이 직접 모드를 바꿉니다. 경로에 evidence를 적으면 스스로 앞뒤로 움직입니다.");
pub(crate) const EVIDENCE_NOTHING: Text = Text("There is nothing to decide in this mode.", "이 모드에서는 결정할 것이 없습니다.");
pub(crate) const EVIDENCE_WAITING: Text = Text("gathering", "모으는 중");
pub(crate) const EVIDENCE_HELD: Text = Text("held back", "되돌린 뒤 대기");
pub(crate) const EVIDENCE_LAST: Text = Text("at its last step", "마지막 단계");
pub(crate) const EVIDENCE_OFF: Text = Text("nothing to decide", "결정할 것 없음");
pub(crate) const EVIDENCE_HAVE: Text = Text("{0} of {1} requests of this batch", "이번 묶음 요청 {1}개 중 {0}개");
pub(crate) const EVIDENCE_MISSING: Text = Text("{0} are missing before the next look", "다음 판단까지 {0}개 부족");
pub(crate) const HOLDS: Text = Text("Holds", "충족");
pub(crate) const IT_HOLDS: Text = Text("holds", "충족");
pub(crate) const IT_DOES_NOT: Text = Text("does not hold", "미충족");
pub(crate) const SEEN: Text = Text("Seen", "관찰값");
pub(crate) const AT_MOST: Text = Text("At most", "상한");
pub(crate) const NOT_ENOUGH: Text = Text("too few yet", "아직 부족");
pub(crate) const NOT_KNOWN_YET: Text = Text("not known yet", "아직 모름");
pub(crate) const EVIDENCE_SURE: Text = Text("The upper bounds hold with {0} % confidence at look {1}: each further look asks for more, so that looking often proves nothing by itself.", "상한은 {1}번째 판단에서 {0} % 신뢰도로 성립합니다. 자주 본다고 증명되지 않도록 볼 때마다 더 엄격해집니다.");
pub(crate) const EVIDENCE_BACKS: Text = Text("It went back by itself {0} times.", "{0}번 스스로 되돌아갔습니다.");

/// A rule of evidence.
pub(crate) fn rule(name: &str) -> Text {
    match name {
        "mismatch" => Text("Answers that differ", "다른 응답"),
        "error" => Text("Errors on Banyan's side", "Banyan 쪽 오류"),
        "user-error" => Text("Of these, errors that users got", "그중 사용자가 받은 오류"),
        _ => Text("p99 against the old shop's", "기존 쇼핑몰 대비 p99"),
    }
}

// Mismatches.
pub(crate) const MISMATCHES: Text = Text("Mismatches", "불일치");
pub(crate) const NO_MISMATCHES: Text = Text("No mismatch was found.", "불일치가 없습니다.");
pub(crate) const WHERE: Text = Text("Where", "위치");
pub(crate) const KIND: Text = Text("Kind", "종류");
pub(crate) const JUDGED: Text = Text("Judged", "판정");
pub(crate) const TIMES: Text = Text("Times", "횟수");
pub(crate) const FIRST_SEEN: Text = Text("First seen", "처음");
pub(crate) const LAST_SEEN: Text = Text("Last seen", "마지막");
pub(crate) const JUDGED_OPEN: Text = Text("open", "미판정");
pub(crate) const JUDGED_IGNORE: Text = Text("ignored", "무시");
pub(crate) const JUDGED_BUG: Text = Text("a bug", "버그");
pub(crate) const JUDGE: Text = Text("Judge this mismatch", "불일치 판정");
pub(crate) const JUDGE_WHY: Text = Text("Why", "이유");
pub(crate) const JUDGE_EXAMPLE: Text = Text("such as: the clock of the page", "예: 페이지의 시각 표시");
pub(crate) const JUDGE_WHAT: Text = Text("Ignored differences do not count as mismatches. Bugs and open ones do.", "무시한 차이는 불일치로 세지 않습니다. 버그와 미판정은 셉니다.");
pub(crate) const JUDGE_IGNORE: Text = Text("Ignore", "무시");
pub(crate) const JUDGE_BUG: Text = Text("Bug", "버그");
pub(crate) const JUDGE_OPEN: Text = Text("Open", "미판정");
pub(crate) const JUDGE_IGNORE_WHAT: Text = Text("It does not matter: no mismatch from now on", "문제가 아님: 앞으로 불일치로 세지 않음");
pub(crate) const JUDGE_BUG_WHAT: Text = Text("It is a fault and somebody works on it: it counts", "결함이며 고치는 중: 계속 셈");
pub(crate) const JUDGE_OPEN_WHAT: Text = Text("Nobody has judged it: it counts", "판정하지 않음: 계속 셈");
pub(crate) const JUDGED_DONE: Text = Text("Judged.", "판정했습니다.");
pub(crate) const JUDGED_WAY_BACK: Text = Text("Judge it again to take that back; the old judgement stays in its history.", "다시 판정하면 되돌릴 수 있고, 이전 판정은 이력에 남습니다.");
pub(crate) const JUDGED_BEFORE: Text = Text("What was said of it", "판정 이력");
pub(crate) const SAMPLES: Text = Text("Samples", "표본");
pub(crate) const SAMPLES_HINT: Text = Text("The first one and the last ones. Secrets are hidden; what counts is marked, what differs without counting (noise, ignored) is only tinted.", "첫 표본과 최근 표본입니다. 비밀은 가려져 있고, 세는 차이는 표시되며 잡음이나 무시한 차이는 옅게 보입니다.");
pub(crate) const NO_SUCH_GROUP: Text = Text("No such mismatch", "없는 불일치");
pub(crate) const NO_SUCH_GROUP_HINT: Text = Text("Route {0} has no mismatch of this name any more: groups that were not seen for long are forgotten.", "경로 {0}에 이 불일치가 더는 없습니다. 오래 보이지 않은 것은 지워집니다.");
pub(crate) const EQUAL_LINES: Text = Text("equal lines: {0}", "같은 줄: {0}");
pub(crate) const CUT_LINES: Text = Text("{0} more lines on the left, {1} on the right", "왼쪽 {0}줄, 오른쪽 {1}줄 더 있음");
pub(crate) const COUNTS: Text = Text("counts", "세는 차이");

/// A kind of difference.
pub(crate) fn kind_of_difference(kind: &str) -> Text {
    match kind {
        "status" => Text("another status", "다른 상태 코드"),
        "header" => Text("a header", "헤더"),
        "type" => Text("a value of another type", "다른 형식의 값"),
        "value" => Text("another value", "다른 값"),
        "missing" => Text("only the old shop has it", "기존 쇼핑몰에만 있음"),
        "added" => Text("only Banyan has it", "Banyan에만 있음"),
        "text" => Text("lines of a text", "본문 줄"),
        _ => Text("bytes", "바이트"),
    }
}
