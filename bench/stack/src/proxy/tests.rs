use super::*;

/// A server that answers everything with itself, a piece at a time, and tells what it was asked.
fn echo() -> (u16, std::sync::mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heard, hearing) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let heard = heard.clone();
            std::thread::spawn(move || {
                carry(&stream, Some(&stream), |piece, _| {
                    let _ = heard.send(piece.to_vec());
                    piece.len()
                });
            });
        }
    });
    (port, hearing)
}

fn client(proxy: &Proxy) -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap()
}

fn say(mut stream: &TcpStream, text: &[u8]) {
    stream.write_all(text).unwrap();
}

fn hear(mut stream: &TcpStream, count: usize) -> Vec<u8> {
    let mut heard = vec![0; count];
    stream.read_exact(&mut heard).unwrap();
    heard
}

/// Nothing comes until the connection is cut.
fn hears_nothing_more(proxy: &Proxy, mut stream: &TcpStream) {
    proxy.cut();
    assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)));
}

#[test]
fn forwards_and_cuts() {
    let (port, _hearing) = echo();
    let proxy = Proxy::start(port).unwrap();
    let stream = client(&proxy);
    say(&stream, b"hello");
    assert_eq!(hear(&stream, 5), b"hello");
    proxy.set(Way::Delay(Duration::from_millis(1)));
    say(&stream, b"again");
    assert_eq!(hear(&stream, 5), b"again");
    hears_nothing_more(&proxy, &stream);
    proxy.set(Way::Refuse);
    assert!(matches!(client(&proxy).read(&mut [0; 1]), Ok(0) | Err(_)));
    assert_eq!(proxy.lost(), 0);
}

#[test]
fn a_connection_that_lost_an_answer_hears_no_other() {
    let (port, hearing) = echo();
    let proxy = Proxy::start(port).unwrap();
    let (stream, other) = (client(&proxy), client(&proxy));
    for stream in [&stream, &other] {
        say(stream, b"before");
        assert_eq!((hear(stream, 6), hearing.recv().unwrap()), (b"before".to_vec(), b"before".to_vec()));
    }
    proxy.set(Way::LoseAnswers);
    say(&stream, b"lost");
    assert_eq!(hearing.recv().unwrap(), b"lost", "the request passed");
    while proxy.lost() == 0 {
        std::thread::yield_now();
    }
    proxy.set(Way::Forward);
    say(&stream, b"after");
    assert_eq!(hearing.recv().unwrap(), b"after");
    say(&other, b"fine");
    assert_eq!(hear(&other, 4), b"fine");
    hears_nothing_more(&proxy, &stream);
}

#[test]
fn loses_what_it_is_told_to_and_what_follows() {
    let (port, hearing) = echo();
    let proxy = Proxy::start(port).unwrap();
    proxy.set(Way::LoseAnswer(b"COMMIT".to_vec()));
    let stream = client(&proxy);
    say(&stream, b"begin COM");
    assert_eq!(hear(&stream, 9), b"begin COM");
    say(&stream, b"MIT done");
    while proxy.lost() == 0 {
        std::thread::yield_now();
    }
    hears_nothing_more(&proxy, &stream);
    while hearing.recv().unwrap() != b"MIT done" {}

    proxy.set(Way::LoseRequest(b"COMMIT".to_vec()));
    let stream = client(&proxy);
    say(&stream, b"begin COMMIT done");
    assert_eq!(hear(&stream, 6), b"begin ");
    assert_eq!((hearing.recv().unwrap(), proxy.lost()), (b"begin ".to_vec(), 2));
    hears_nothing_more(&proxy, &stream);
}

#[test]
fn half_open_connections_hear_nothing_and_nobody_hears_of_their_end() {
    let (port, hearing) = echo();
    let proxy = Proxy::start(port).unwrap();
    let (asking, idle) = (client(&proxy), client(&proxy));
    for stream in [&asking, &idle] {
        say(stream, b"before");
        assert_eq!((hear(stream, 6), hearing.recv().unwrap()), (b"before".to_vec(), b"before".to_vec()));
    }
    proxy.set(Way::HalfOpen);
    let new = client(&proxy);
    for stream in [&asking, &new] {
        let before = proxy.lost();
        say(stream, b"lost");
        while proxy.lost() == before {
            std::thread::yield_now();
        }
    }
    proxy.set(Way::Forward);
    // Those of then stay so, and those of now are fine.
    say(&idle, b"lost");
    while proxy.lost() < 3 {
        std::thread::yield_now();
    }
    let fine = client(&proxy);
    say(&fine, b"fine");
    assert_eq!((hear(&fine, 4), hearing.recv().unwrap()), (b"fine".to_vec(), b"fine".to_vec()));
    drop(asking);
    while orphans(&proxy) == 0 {
        std::thread::yield_now();
    }
    proxy.bury();
    while orphans(&proxy) > 0 {
        std::thread::yield_now();
    }
    say(&fine, b"fine");
    assert_eq!(hear(&fine, 4), b"fine");
    hears_nothing_more(&proxy, &idle);
    assert!(matches!((&new).read(&mut [0; 1]), Ok(0) | Err(_)));
}

fn orphans(proxy: &Proxy) -> usize {
    let connections = lock(&proxy.shared.connections);
    connections.values().filter(|connection| connection.orphaned.load(Ordering::SeqCst)).count()
}
