//! F1, F2: each direction goes on to its own end, whoever ends first.

use super::*;

#[derive(Clone, Copy, Debug)]
enum Order {
    /// The client sends all and ends; then the backend.
    ClientFirst,
    BackendFirst,
    /// Both send and end at once.
    Together,
    /// Both have heard all before either ends.
    Late,
}

const ORDERS: [Order; 4] = [
    Order::ClientFirst,
    Order::BackendFirst,
    Order::Together,
    Order::Late,
];

fn send_and_end(mut to: &TcpStream, count: usize) {
    to.write_all(&BYTES[..count]).unwrap();
    to.shutdown(Shutdown::Write).unwrap();
}

fn in_order(order: Order, client: &TcpStream, backend: &TcpStream, count: usize) {
    let one_after_the_other = |first: &TcpStream, second: &TcpStream| {
        thread::scope(|scope| {
            scope.spawn(|| send_and_end(first, count));
            expect(second, count);
            scope.spawn(|| send_and_end(second, count));
            expect(first, count);
        });
    };
    match order {
        Order::ClientFirst => one_after_the_other(client, backend),
        Order::BackendFirst => one_after_the_other(backend, client),
        Order::Together => thread::scope(|scope| {
            scope.spawn(|| send_and_end(client, count));
            scope.spawn(|| send_and_end(backend, count));
            scope.spawn(|| expect(client, count));
            expect(backend, count);
        }),
        Order::Late => {
            thread::scope(|scope| {
                for (mut from, mut to) in [(client, backend), (backend, client)] {
                    scope.spawn(move || from.write_all(&BYTES[..count]).unwrap());
                    scope.spawn(move || {
                        let mut heard = vec![0; count];
                        to.read_exact(&mut heard).unwrap();
                        assert!(heard == BYTES[..count]);
                    });
                }
            });
            client.shutdown(Shutdown::Write).unwrap();
            expect(backend, 0);
            backend.shutdown(Shutdown::Write).unwrap();
            expect(client, 0);
        }
    }
}

fn all_orders(splice: Splice) {
    for size in [0, 1, 64 * 1024, 10 * MIB] {
        for order in ORDERS {
            let (client, inner_client) = connection();
            let (backend, inner_backend) = match order {
                Order::ClientFirst | Order::Late => unix_connection(),
                _ => connection(),
            };
            let session = start(splice, b"", inner_client, inner_backend);
            in_order(order, &client, &backend, size);
            let ran = session.join().unwrap();
            assert_eq!(ran.end, End::Done, "{size} {order:?} {ran:?}");
            let size = size as u64;
            assert_eq!(
                ran.moved,
                Moved {
                    up: size,
                    down: size
                },
                "{order:?}"
            );
        }
    }
}

#[test]
fn all_orders_and_sizes_copied() {
    all_orders(Splice::Off);
}

#[test]
fn all_orders_and_sizes_spliced() {
    all_orders(Splice::On);
}

#[test]
fn all_orders_and_sizes_as_it_comes() {
    all_orders(Splice::Auto);
}

#[test]
fn last_bytes_and_end_in_one_go_arrive_where_the_other_side_has_ended_already() {
    for splice in WAYS_TO_MOVE {
        let (client, inner_client) = connection();
        let (backend, inner_backend) = connection();
        client.shutdown(Shutdown::Write).unwrap();
        // Both before the first turn: one event tells data, end and hang-up.
        send_and_end(&backend, 100_000);
        let session = start(splice, b"", inner_client, inner_backend);
        expect(&client, 100_000);
        expect(&backend, 0);
        assert_eq!(session.join().unwrap().end, End::Done);
    }
}

#[test]
fn what_comes_after_urgent_data_is_not_cut_off() {
    for splice in WAYS_TO_MOVE {
        let (client, inner_client) = connection();
        let (backend, inner_backend) = connection();
        (&backend).write_all(b"before ").unwrap();
        SockRef::from(&backend).send_out_of_band(b"!").unwrap();
        (&backend).write_all(b"after").unwrap();
        drop(backend);
        let session = start(splice, b"", inner_client, inner_backend);
        let mut heard = String::new();
        (&client).read_to_string(&mut heard).unwrap();
        // The urgent byte itself is out of band, and is not carried.
        assert_eq!(heard, "before after");
        drop(client);
        assert_eq!(session.join().unwrap().end, End::Done);
    }
}
