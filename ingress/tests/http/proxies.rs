//! The limit of an address is that of the client behind the proxies, and of nobody whom a client makes up.

use orderly_ingress::throttle::{Limits, Policy, Rate};
use orderly_ingress::{Header, Options, Proxies};

use crate::kit::{Kit, keys, options, problem, session};

/// One booking for each address, behind these proxies.
async fn kit(trusted: &str, header: Header) -> Kit {
    let address = Some(Rate { rate_per_s: 0.001, burst: 1 });
    let policy = Policy::of(Limits { address, ..Limits::default() });
    let trusted_proxies = trusted.parse::<Proxies>().unwrap().writing(header);
    let kit = Kit::with(Options { policy, trusted_proxies, ..options() }, keys()).await;
    kit.open(&[session("s1", "li", 50)]).await;
    kit
}

/// Lets a patient of its own ask in each line, with these headers, and expects the limit to hold for the lines that say so.
async fn asked(kit: &Kit, lines: &[(bool, &[(&str, &str)])]) {
    for (number, (limited, headers)) in lines.iter().enumerate() {
        let mut request = kit.booking(&format!("patient-{number}"), "k1", "s1");
        for (name, value) in *headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        if *limited {
            let told = problem(answer, 429, "rate-limited").await;
            assert_eq!(told["limit"], "address", "{headers:?}: {told}");
        } else {
            assert_eq!(answer.status(), 202, "{headers:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_hop_that_is_no_proxy_is_limited() {
    const XFF: &str = "x-forwarded-for";
    let kit = kit("127.0.0.0/8, 10.0.0.0/8", Header::XForwardedFor).await;
    asked(
        &kit,
        &[
            (false, &[(XFF, "203.0.113.5")]),
            (true, &[(XFF, "203.0.113.5")]),
            // What a client writes before it makes it nobody else, and what is behind it are proxies.
            (true, &[(XFF, "198.51.100.7, 203.0.113.5")]),
            (true, &[(XFF, "203.0.113.5, 10.1.1.1, 10.2.2.2")]),
            (true, &[(XFF, "198.51.100.7"), (XFF, "203.0.113.5, 10.1.1.1")]),
            (true, &[(XFF, "203.0.113.5"), ("forwarded", "for=198.51.100.8")]),
            (false, &[(XFF, "203.0.113.5, 198.51.100.7")]),
            (false, &[(XFF, "2001:db8::1, 10.1.1.1")]),
            (true, &[(XFF, "2001:db8::2")]),
            // The proxy itself.
            (false, &[]),
            (true, &[("forwarded", "for=198.51.100.9")]),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_that_write_forwarded_are_read_by_it() {
    let kit = kit("127.0.0.1, 10.0.0.0/8", Header::Forwarded).await;
    asked(
        &kit,
        &[
            (false, &[("forwarded", "for=203.0.113.5;proto=https")]),
            (true, &[("forwarded", "for=198.51.100.7, for=203.0.113.5, for=\"10.1.1.1:443\"")]),
            (true, &[("forwarded", "for=198.51.100.7"), ("forwarded", "proto=https;For=\"203.0.113.5:1234\"")]),
            (true, &[("forwarded", "for=203.0.113.5"), ("x-forwarded-for", "198.51.100.8")]),
            (false, &[("forwarded", "for=\"[2001:db8::1]:1234\"")]),
            (true, &[("forwarded", "for=\"[2001:db8::ffff]\"")]),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_proxy_is_itself_whatever_it_writes() {
    for (trusted, header) in [("", Header::XForwardedFor), ("10.0.0.0/8", Header::Forwarded)] {
        let kit = kit(trusted, header).await;
        asked(
            &kit,
            &[
                (false, &[("x-forwarded-for", "203.0.113.5"), ("forwarded", "for=203.0.113.5")]),
                (true, &[("x-forwarded-for", "203.0.113.6"), ("forwarded", "for=203.0.113.6")]),
            ],
        )
        .await;
    }
}
