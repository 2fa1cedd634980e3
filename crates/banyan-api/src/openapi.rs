//! The OpenAPI document, made from the handlers and their types, and a page made from it.

use crate::routes;
use serde_json::Value;
use std::fmt::Write;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

#[derive(OpenApi)]
#[openapi(
    info(title = "Banyan", description = "Coupons that are issued when we say so. Every error is `application/problem+json` with a stable `type`."),
    paths(
        routes::create_campaign,
        routes::list_campaigns,
        routes::get_campaign,
        routes::change_campaign,
        routes::extend_allow_list,
        routes::issue_coupon,
        routes::issue_batch,
        routes::get_coupon,
        routes::hold_coupon,
        routes::redeem_coupon,
        routes::release_coupon,
        routes::revoke_coupon,
        routes::list_member_coupons,
        routes::put_item,
        routes::receive_goods,
        routes::adjust_stock,
        routes::get_stock,
        routes::list_stock,
        routes::import_stock,
        routes::reserve_stock,
        routes::get_reservation,
        routes::commit_reservation,
        routes::release_reservation,
        routes::return_goods,
        routes::open_account,
        routes::get_account,
        routes::transfer,
        routes::show_trial_balance,
        routes::define_saga,
        routes::list_definitions,
        routes::start_saga,
        routes::list_sagas,
        routes::get_saga,
        routes::cancel_saga,
        routes::resume_saga,
        routes::put_product,
        routes::put_products,
        routes::get_product,
        routes::list_products,
        routes::put_terms,
        routes::get_terms,
        routes::quote_order,
        routes::place_order,
        routes::get_order,
        routes::cancel_order,
        routes::return_order,
        routes::list_orders,
        routes::list_member_orders,
        routes::take_webhook,
        routes::read_events,
        routes::show_legacy,
        routes::plan_move,
        routes::begin_move,
        routes::abort_move,
        routes::reconcile,
        routes::list_references,
        routes::list_lags,
        routes::show_record_view,
        routes::rebuild_record_view,
        routes::is_alive,
        routes::is_ready,
        routes::show_metrics,
    ),
    modifiers(&Bearer)
)]
struct Document;

/// Declares the one way to show who one is.
struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("bearer", scheme);
        document.security =
            Some(vec![utoipa::openapi::SecurityRequirement::new("bearer", Vec::<String>::new())]);
    }
}

/// The OpenAPI 3.1 document.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

const STYLE: &str = include_str!("docs.css");

/// The document as a page.
pub(crate) fn page(document: &utoipa::openapi::OpenApi) -> String {
    let document = serde_json::to_value(document).unwrap_or_default();
    let mut page = String::with_capacity(32 << 10);
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Banyan API</title><style>{STYLE}</style><header><h1>Banyan API</h1><p>Send <code>Authorization: Bearer KEY</code>. \
         The same as a document for programs: <a href=\"/openapi.json\">/openapi.json</a>.</p></header><main>"
    );
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            write_operation(&mut page, &document, path, method, operation);
        }
    }
    page.push_str("</main></html>");
    page
}

fn write_operation(page: &mut String, document: &Value, path: &str, method: &str, operation: &Value) {
    let text = |value: &Value| escape(value.as_str().unwrap_or_default());
    let _ = write!(
        page,
        "<details><summary><b>{}</b> <code>{}</code> <span>{}</span></summary><p>{}</p>",
        method.to_uppercase(),
        escape(path),
        text(&operation["summary"]),
        text(&operation["description"])
    );
    let rows = |page: &mut String, title: &str, rows: Vec<(String, String)>| {
        if rows.is_empty() {
            return;
        }
        let _ = write!(page, "<h3>{title}</h3><table>");
        for (name, meaning) in rows {
            let _ = write!(page, "<tr><td><code>{name}</code><td>{meaning}");
        }
        page.push_str("</table>");
    };
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    rows(page, "Parameters", parameters.map(|p| (text(&p["name"]), text(&p["description"]))).collect());
    let body = operation["requestBody"]["content"].as_object().into_iter().flatten().next();
    let fields = body.map(|(_, body)| fields(document, &body["schema"])).unwrap_or_default();
    rows(page, "Body", fields);
    let answers = operation["responses"].as_object().into_iter().flatten();
    rows(
        page,
        "Answers",
        answers.map(|(status, answer)| (escape(status), text(&answer["description"]))).collect(),
    );
    page.push_str("</details>");
}

/// The fields of a schema and what they mean.
fn fields(document: &Value, schema: &Value) -> Vec<(String, String)> {
    let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    let schema = name.map_or(schema, |name| &document["components"]["schemas"][name]);
    let required: Vec<_> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema["properties"].as_object().into_iter().flatten();
    let field = |(name, property): (&String, &Value)| {
        let meaning = escape(property["description"].as_str().unwrap_or_default());
        let optional = if required.contains(&name.as_str()) { "" } else { " Optional." };
        (escape(name), format!("{meaning}{optional}"))
    };
    properties.map(field).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
