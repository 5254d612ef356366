//! What every route may answer besides what is its own, written into the API's description: no route can forget it.

use axum::http::Method;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Response, ResponseBuilder};

use crate::routes::{self, Access, Found, Pace, Route};

const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";
const EVENT_STREAM: &str = "text/event-stream";

/// Completes the description of every operation.
pub(crate) fn complete(description: &mut OpenApi) {
    for (path, item) in &mut description.paths.paths {
        for (method, operation) in operations(item) {
            if let Some(operation) = operation {
                let route = match routes::find(routes::Side::Everybody, &method, path) {
                    Found::Route(index) => Some(&routes::TABLE[index]),
                    _ => None,
                };
                common(operation, route);
                for response in operation.responses.responses.values_mut() {
                    if let RefOr::T(response) = response {
                        name_contents(response);
                    }
                }
            }
        }
    }
}

fn operations(item: &mut PathItem) -> [(Method, Option<&mut Operation>); 5] {
    [
        (Method::GET, item.get.as_mut()),
        (Method::PUT, item.put.as_mut()),
        (Method::POST, item.post.as_mut()),
        (Method::PATCH, item.patch.as_mut()),
        (Method::DELETE, item.delete.as_mut()),
    ]
}

fn common(operation: &mut Operation, route: Option<&Route>) {
    let has_body = operation.request_body.is_some();
    let has_parameters = operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty());
    let is_secured = route.is_some_and(|route| route.access != Access::Public);
    let may_be_away = route.is_some_and(|route| route.audited.is_some() || route.pace == Pace::Prompt);
    let answers = [
        ("400", has_body || has_parameters, "Not readable"),
        ("401", is_secured, "A valid token is needed"),
        ("403", is_secured, "The token's role may not do this"),
        ("408", has_body, "The body did not arrive in time"),
        ("413", has_body, "The body is too large"),
        ("415", has_body, "The body has a format that is not taken here"),
        ("500", true, "A fault of the server"),
        ("503", may_be_away, "It cannot be answered now; ask again later"),
    ];
    for (status, applies, text) in answers {
        if applies {
            operation.responses.responses.entry(status.to_owned()).or_insert_with(|| problem(text));
        }
    }
}

fn problem(text: &str) -> RefOr<Response> {
    let shape = Content::new(Some(RefOr::Ref(Ref::from_schema_name("Problem"))));
    RefOr::T(ResponseBuilder::new().description(text).content(PROBLEM_JSON, shape).build())
}

/// Problems have a content type of their own, and the events of a stream are no JSON text.
fn name_contents(response: &mut Response) {
    if response.content.get(JSON).is_some_and(is_problem)
        && let Some(content) = response.content.shift_remove(JSON)
    {
        response.content.insert(PROBLEM_JSON.to_owned(), content);
    }
    if let Some(RefOr::T(content)) = response.content.get_mut(EVENT_STREAM) {
        content.schema = None;
    }
}

fn is_problem(content: &RefOr<Content>) -> bool {
    let RefOr::T(Content { schema: Some(RefOr::Ref(schema)), .. }) = content else { return false };
    schema.ref_location.ends_with("/Problem")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    #[test]
    fn every_route_tells_its_refusals() {
        let (_, description) = crate::openapi::routes();
        let description = serde_json::to_value(&description).expect("JSON");
        let mut refusals = 0;
        for (path, item) in description["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("operations") {
                let of = |status: &str| &operation["responses"][status];
                let secured = operation.get("security").is_some();
                assert_eq!(!of("401").is_null() && !of("403").is_null(), secured, "{method} {path}");
                assert_eq!(!of("415").is_null(), operation.get("requestBody").is_some(), "{method} {path}");
                for (status, answer) in operation["responses"].as_object().expect("responses") {
                    if status.starts_with(['4', '5']) && path != "/readyz" {
                        assert_ne!(
                            answer["content"]["application/problem+json"],
                            Value::Null,
                            "{method} {path} {status}"
                        );
                        refusals += 1;
                    }
                }
            }
        }
        assert!(refusals > 100, "{refusals}");
    }
}
