//! Sagas: define, begin, look at, cancel, and let parked ones go on.

use super::coupons::write;
use crate::App;
use crate::body::{self, SMALL_BODY_BYTES_MAX};
use crate::problem::Problem;
use crate::routes::path::PathText;
use crate::wire::ReasonJson;
use crate::wire_saga::{
    DefinitionAnswerJson, DefinitionJson, DefinitionsJson, FaultJson, ResumeHowJson, ResumeJson,
    SagaAnswerJson, SagaJson, SagasJson, StartSagaJson, read_mark,
};
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use banyan_domain::saga::{self, Definition, Fault, Phase, Resume, Saga};
use banyan_domain::{Command, OrderNo, Outcome, Reason, Refusal, SagaKey, SagaName, SagaNo};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::sync::Arc;

/// Largest definition: 32 steps with room for comments.
const DEFINITION_BYTES_MAX: usize = 64 << 10;
/// Sagas in a page, at most and by default.
const PAGE_MAX: usize = 500;
const PAGE: usize = 100;
/// Sagas looked through for one page, so that the writer never waits long for somebody who looks for few among many.
const LOOKED_THROUGH_MAX: usize = 10_000;

/// Which sagas to list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SagasQuery {
    state: Option<StateQuery>,
    after: Option<u64>,
    limit: Option<usize>,
}

/// Sagas of which state.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StateQuery {
    Parked,
    Running,
    Compensating,
    Ended,
}

/// Defines a version of a saga. The body is a definition file: TOML, as text. The same again is answered with 200.
///
/// The answer to a definition that breaks rules is 422 with a `faults` array, as `banyan saga lint` prints it.
#[utoipa::path(
    post, path = "/v1/sagas/definitions", tag = "sagas", request_body(content = String, content_type = "application/toml"),
    responses((status = 201, description = "Defined", body = DefinitionAnswerJson), (status = 200, description = "Defined before", body = DefinitionAnswerJson), (status = 403, description = "forbidden"), (status = 409, description = "saga-version, too-many-sagas"), (status = 422, description = "saga-invalid", body = Vec<FaultJson>)),
)]
pub(crate) async fn define_saga(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_operate()?;
    let bytes = body::read(body, DEFINITION_BYTES_MAX).await?;
    let text =
        std::str::from_utf8(&bytes).map_err(|_| Problem::invalid("The definition is not UTF-8 text."))?;
    let definition = banyan_saga::read_definition(text)
        .map_err(|error| Problem::invalid(format!("The definition cannot be read: {error}.")))?;
    let faults = banyan_saga::faults(&definition);
    if !faults.is_empty() {
        return Ok(invalid(faults));
    }
    let definition = Box::new(definition);
    let stamp = app.stamp(&headers, &principal, || format!("define {definition:?}"))?;
    let command = saga::Command::Define { definition: definition.clone(), by: principal.name.clone() };
    let (_, seq, replayed) = app.ask(Command::Saga(command), stamp).await?;
    let name = definition.name.clone();
    let newest = app.look(move |state| state.sagas().newest(&name).map(|(_, newest)| newest.version)).await;
    let newest = newest.map_err(|_| Problem::unknown_outcome())?;
    let newest = newest == Some(definition.version);
    let answer = DefinitionAnswerJson { definition: DefinitionJson::new(&definition, newest), seq };
    Ok(write(&answer, status(replayed), replayed))
}

/// Lists every version of every saga, in order of defining.
#[utoipa::path(get, path = "/v1/sagas/definitions", tag = "sagas", responses((status = 200, description = "All versions", body = DefinitionsJson), (status = 403, description = "forbidden")))]
pub(crate) async fn list_definitions(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.identify(&headers)?.must_read_all()?;
    let answer = app
        .look(|state| {
            let sagas = state.sagas();
            let newest = |definition: &Definition| {
                sagas.newest(&definition.name).is_some_and(|(_, newest)| newest.version == definition.version)
            };
            let all = sagas.definitions().map(|(_, one)| DefinitionJson::new(one, newest(one)));
            DefinitionsJson { definitions: all.collect(), seq: state.seq() }
        })
        .await?;
    Ok(write(&answer, StatusCode::OK, false))
}

/// Begins a saga. There is one of a name for a key: the same again is answered with 200 and the saga that was begun, and with
/// another input refused. A key is remembered for at least 28 hours after the end of its saga, and for a year if not more than
/// 20,000 sagas of its name ended since.
///
/// Steps that the store carries out itself are done by the time of the answer, up to the first that asks somebody else.
#[utoipa::path(
    post, path = "/v1/sagas", tag = "sagas", request_body = StartSagaJson,
    responses((status = 201, description = "Begun", body = SagaAnswerJson), (status = 200, description = "Begun before", body = SagaAnswerJson), (status = 403, description = "forbidden"), (status = 404, description = "saga-not-defined"), (status = 409, description = "saga-key-reused"), (status = 422, description = "saga-input-too-large")),
)]
pub(crate) async fn start_saga(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_serve()?;
    let request: StartSagaJson = body::parse(&body::read(body, DEFINITION_BYTES_MAX).await?)?;
    // What cannot be a name is the name of no saga.
    let name = SagaName::new(request.name)
        .map_err(|_| Problem::from(Refusal::Saga(saga::Refusal::SagaNotDefined)))?;
    let key = SagaKey::new(request.key).map_err(|error| Problem::invalid(format!("{error}.")))?;
    // Orders number their own: somebody else's saga under a number to come would stand in the way of that order.
    let number = key.as_str().split('.').next().unwrap_or_default();
    if matches!(name.as_str(), "checkout" | "order-refund") && OrderNo::parse(number).is_ok() {
        return Err(Problem::invalid(
            "key: o- and a number is the key of an order placed here; choose another.",
        ));
    }
    let input = request.input.into_iter().collect();
    let stamp = app.stamp(&headers, &principal, || format!("start {name} {key} {input:?}"))?;
    change(&app, saga::Command::Start { name, key, input }, stamp, StatusCode::CREATED).await
}

/// Lists sagas in order of starting: those under way, and those that ended in the last hours.
#[utoipa::path(
    get, path = "/v1/sagas", tag = "sagas",
    params(("state" = Option<String>, Query, description = "`parked`, `running`, `compensating` or `ended`; all if left out"), ("after" = Option<u64>, Query, description = "The `next` of the page before"), ("limit" = Option<usize>, Query, description = "1 to 500; default 100")),
    responses((status = 200, description = "A page", body = SagasJson), (status = 403, description = "forbidden")),
)]
pub(crate) async fn list_sagas(
    State(app): State<Arc<App>>,
    query: Result<Query<SagasQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.identify(&headers)?.must_read_all()?;
    let Query(query) = query.map_err(|error| Problem::invalid(format!("{error}.")))?;
    let limit = query.limit.unwrap_or(PAGE);
    if limit == 0 || limit > PAGE_MAX {
        return Err(Problem::invalid("limit: must be 1 to 500."));
    }
    let answer = app
        .look(move |state| {
            let (all, mut sagas, mut next) = (state.sagas(), Vec::new(), None);
            let mut rest = all.sagas_after(SagaNo::new(query.after.unwrap_or(0))).peekable();
            for _ in 0..LOOKED_THROUGH_MAX {
                let Some(saga) = rest.next() else { break };
                next = Some(saga.no.get());
                if query.state.is_none_or(|state| state.is_of(saga)) {
                    sagas.extend(all.definition(saga.definition).map(|known| SagaJson::new(saga, known)));
                }
                if sagas.len() == limit {
                    break;
                }
            }
            SagasJson { sagas, next: next.filter(|_| rest.peek().is_some()), seq: state.seq() }
        })
        .await?;
    Ok(write(&answer, StatusCode::OK, false))
}

/// Shows a saga. One that ended is shown for two hours; what happened to it stays in the events.
#[utoipa::path(
    get, path = "/v1/sagas/{no}", tag = "sagas", params(("no" = u64, Path, description = "Number")),
    responses((status = 200, description = "The saga", body = SagaAnswerJson), (status = 403, description = "forbidden"), (status = 404, description = "saga-not-found")),
)]
pub(crate) async fn get_saga(
    State(app): State<Arc<App>>,
    PathText(no): PathText,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.identify(&headers)?.must_read_all()?;
    let found = find(&app, number(&no)?).await?;
    let found = found.ok_or(Refusal::Saga(saga::Refusal::SagaNotFound))?;
    Ok(write(&found, StatusCode::OK, false))
}

/// Turns a saga back, if it has not reached its point of no return.
#[utoipa::path(
    post, path = "/v1/sagas/{no}/cancel", tag = "sagas", params(("no" = u64, Path, description = "Number")), request_body = ReasonJson,
    responses((status = 200, description = "Turned back", body = SagaAnswerJson), (status = 403, description = "forbidden"), (status = 404, description = "saga-not-found"), (status = 409, description = "saga-too-late")),
)]
pub(crate) async fn cancel_saga(
    State(app): State<Arc<App>>,
    PathText(no): PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_serve()?;
    let saga = number(&no)?;
    let request: ReasonJson = body::parse(&body::read(body, SMALL_BODY_BYTES_MAX).await?)?;
    let reason = Reason::new(request.reason).map_err(|error| Problem::invalid(format!("{error}.")))?;
    let stamp = app.stamp(&headers, &principal, || format!("cancel saga {no} {reason}"))?;
    let command = saga::Command::Cancel { saga, by: principal.name.clone(), reason };
    change(&app, command, stamp, StatusCode::OK).await
}

/// Lets a parked saga go on, if it is as it was when it was looked at: nothing is decided about what nobody saw.
#[utoipa::path(
    post, path = "/v1/sagas/{no}/resume", tag = "sagas", params(("no" = u64, Path, description = "Number")), request_body = ResumeJson,
    responses((status = 200, description = "It goes on", body = SagaAnswerJson), (status = 403, description = "forbidden"), (status = 404, description = "saga-not-found"), (status = 409, description = "saga-not-parked, saga-changed, saga-cannot-undo"), (status = 422, description = "saga-input-too-large")),
)]
pub(crate) async fn resume_saga(
    State(app): State<Arc<App>>,
    PathText(no): PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_operate()?;
    let saga = number(&no)?;
    let request: ResumeJson = body::parse(&body::read(body, DEFINITION_BYTES_MAX).await?)?;
    if request.how != ResumeHowJson::Skip && !request.output.is_empty() {
        return Err(Problem::invalid("output: only a step that is skipped has an output."));
    }
    if request.reason.trim().is_empty() {
        return Err(Problem::invalid("reason: say why, for whoever reads the record."));
    }
    let reason = Reason::new(request.reason).map_err(|error| Problem::invalid(format!("{error}.")))?;
    let mark = read_mark(&request.mark).ok_or_else(|| {
        Problem::invalid("mark: take the mark of the saga as you saw it, 16 hexadecimal digits.")
    })?;
    let how = match request.how {
        ResumeHowJson::Retry => Resume::Retry,
        ResumeHowJson::Skip => Resume::Skip(request.output.into_iter().collect()),
        ResumeHowJson::Undo => Resume::Undo,
    };
    let stamp =
        app.stamp(&headers, &principal, || format!("resume saga {no} {mark:016x} {how:?} {reason}"))?;
    let command = saga::Command::Resume { saga, mark, how, by: principal.name.clone(), reason };
    change(&app, command, stamp, StatusCode::OK).await
}

/// Asks for a change of a saga and writes where it stands then.
async fn change(
    app: &App,
    command: saga::Command,
    stamp: Option<banyan_domain::KeyStamp>,
    new: StatusCode,
) -> Result<Response, Problem> {
    let (outcome, _, replayed) = app.ask(Command::Saga(command), stamp).await?;
    let Outcome::Saga(saga::Outcome::Saga { saga: no }) = outcome else {
        unreachable!("a command about a saga is answered with a saga")
    };
    // It was carried out, whatever comes of the look.
    let found = find(app, no).await.map_err(|_| Problem::unknown_outcome())?;
    // Its key is remembered for longer than the saga itself.
    let found = found.ok_or(Refusal::Saga(saga::Refusal::SagaNotFound))?;
    Ok(write(&found, if replayed { StatusCode::OK } else { new }, replayed))
}

async fn find(app: &App, no: SagaNo) -> Result<Option<SagaAnswerJson>, Problem> {
    app.look(move |state| {
        let saga = state.sagas().saga(no)?;
        let saga = SagaJson::new(saga, state.sagas().definition(saga.definition)?);
        Some(SagaAnswerJson { saga, seq: state.seq() })
    })
    .await
}

/// What is not a number is the number of no saga.
fn number(text: &str) -> Result<SagaNo, Problem> {
    text.parse().map(SagaNo::new).map_err(|_| Refusal::Saga(saga::Refusal::SagaNotFound).into())
}

/// The answer to a definition that breaks rules.
fn invalid(faults: Vec<Fault>) -> Response {
    let problem = Problem::from(Refusal::Saga(saga::Refusal::SagaInvalid));
    let faults: Vec<FaultJson> = faults.into_iter().map(FaultJson::from).collect();
    let mut whole: serde_json::Value = serde_json::from_str(&problem.to_json()).unwrap_or_default();
    whole["faults"] = serde_json::to_value(faults).unwrap_or_default();
    let mut response = problem.into_response();
    *response.body_mut() = Body::from(whole.to_string());
    response.headers_mut().remove(http::header::CONTENT_LENGTH);
    response
}

const fn status(replayed: bool) -> StatusCode {
    if replayed { StatusCode::OK } else { StatusCode::CREATED }
}

impl StateQuery {
    fn is_of(self, saga: &Saga) -> bool {
        match self {
            Self::Parked => saga.parked.is_some(),
            Self::Running => saga.phase == Phase::Running,
            Self::Compensating => saga.phase == Phase::Compensating,
            Self::Ended => saga.is_over(),
        }
    }
}
