//! The API's routes, and its description, which is made of them.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::{self, kind};
use crate::state::Shared;
use crate::{
    appointments, audit, bookings, breakers, common_answers, demo, health, hospital, ops, pages, pipeline, policy,
    rehearsal, reports, sessions, suspicion, tickets,
};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Orderly", description = "A booking engine that keeps a hospital's release rush in order."),
    components(schemas(problem::Shape)),
    tags(
        (name = "patients", description = "Book, follow the ticket, give back"),
        (name = "sessions", description = "Clinic sessions, for everybody"),
        (name = "ops", description = "Sessions, throttle policy and pipeline"),
        (name = "analysts", description = "Reports"),
        (name = "auditors", description = "The audit trail"),
        (name = "operations", description = "Health and metrics"),
        (name = "demo", description = "Only with --demo"),
    )
)]
struct Description;

/// The router, and its description.
pub(crate) fn routes() -> (Router<Shared>, OpenApi) {
    let mut description = <Description as utoipa::OpenApi>::openapi();
    let kinds: Vec<String> = kind::ALL
        .iter()
        .map(|kind| format!("- `{}{}` ({}): {}", problem::TYPE_BASE, kind.name, kind.status.as_u16(), kind.title))
        .collect();
    description.info.description = Some(format!(
        "A booking engine that keeps a hospital's release rush in order.\n\nErrors are RFC 9457 problems. Their types are \
         stable:\n{}",
        kinds.join("\n")
    ));
    description.components.get_or_insert_with(Components::new).add_security_scheme(
        "bearer",
        SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build()),
    );
    let (router, mut description) = OpenApiRouter::with_openapi(description)
        .routes(routes!(bookings::create))
        .routes(routes!(tickets::get, tickets::cancel::cancel))
        .routes(routes!(tickets::events::events))
        .routes(routes!(sessions::list, ops::put::open))
        .routes(routes!(sessions::events::events))
        .routes(routes!(sessions::get, ops::resize))
        .routes(routes!(ops::close))
        .routes(routes!(appointments::list))
        .routes(routes!(appointments::patient))
        .routes(routes!(policy::get, policy::put))
        .routes(routes!(policy::history))
        .routes(routes!(suspicion::suspects::get))
        .routes(routes!(rehearsal::create))
        .routes(routes!(pipeline::get))
        .routes(routes!(pipeline::events::events))
        .routes(routes!(breakers::put))
        .routes(routes!(reports::list))
        .routes(routes!(reports::get))
        .routes(routes!(audit::read::get))
        .routes(routes!(hospital::get))
        .routes(routes!(hospital::time))
        .routes(routes!(demo::token))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .split_for_parts();
    common_answers::complete(&mut description);
    (router, description)
}

/// The handlers of every route. Whoever reaches them has passed the [gate](crate::gate).
pub(crate) fn router(state: &Shared) -> Router {
    let (router, description) = routes();
    let document = Bytes::from(serde_json::to_vec(&description).expect("a description is always JSON"));
    let openapi = move |_: State<Shared>| {
        let document = document.clone();
        async move { respond(document) }
    };
    router
        .route("/openapi.json", get(openapi))
        .route("/docs", get(pages::docs))
        .route("/docs/{file}", get(pages::file))
        .route("/assets/{file}", get(pages::asset))
        .route("/ops", get(pages::room))
        .route("/reports", get(pages::room))
        .route("/", get(pages::index))
        .with_state(state.clone())
}

fn respond(document: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::routes::{Access, TABLE};

    /// Every described route is in the table with the access that it describes, and every API route of the table is
    /// described.
    #[test]
    fn description_and_table_agree() {
        let (_, description) = routes();
        let description = serde_json::to_value(&description).unwrap();
        assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
        let mut described = BTreeSet::new();
        for (path, item) in description["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let secured = operation.get("security").is_some();
                described.insert((method.to_uppercase(), path.clone(), secured));
            }
        }
        let pages = ["/", "/ops", "/reports", "/assets/{file}", "/docs", "/docs/{file}", "/openapi.json"];
        let table: BTreeSet<_> = TABLE
            .iter()
            .filter(|route| !pages.contains(&route.path))
            .map(|route| (route.method.to_string(), route.path.to_owned(), route.access != Access::Public))
            .collect();
        assert_eq!(described, table);
    }
}
