//! Those who are shown the log over the control socket.

use std::io::{self, Write};
use std::os::fd::AsRawFd;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Token};
use socket2::Socket;

use super::super::super::Wish;
use super::super::follower::{Follower, Next};
use super::Thread;
use crate::protocol::LogAnswer;

/// At one time.
const MOST: usize = 16;

impl Thread {
    /// One more, if there is a place.
    pub(super) fn welcome(&mut self, client: Socket, wish: Wish) {
        if self.followers.len() >= MOST {
            let dead = self.followers.iter().find(|(_, one)| one.is_dead_weight());
            let Some((&number, _)) = dead else {
                let busy = "this primary shows its log to others already, as many as there may be: try again";
                let answer = LogAnswer::<()>::Error(busy.to_owned());
                let mut line = serde_json::to_vec(&answer).unwrap_or_default();
                line.push(b'\n');
                // It has just asked: there is room for a line in its socket.
                let _ = (&client).write(&line);
                return;
            };
            self.dismiss(number);
        }
        self.follow(Follower::new(client, wish, &self.ring));
    }

    pub(super) fn follow(&mut self, follower: Follower) {
        if self.watch_follower(&follower).is_ok() {
            self.followers.insert(self.next, follower);
            self.next += 1;
        }
    }

    fn watch_follower(&self, follower: &Follower) -> io::Result<()> {
        let raw = follower.as_raw_fd();
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(&mut SourceFd(&raw), Token(self.next), both)
    }

    /// Whatever it may send, it has asked already; that it has gone is all that is of interest.
    pub(super) fn heed_follower(&mut self, event: &Event) {
        if event.is_error() || (event.is_read_closed() && event.is_write_closed()) {
            self.dismiss(event.token().0);
        }
    }

    /// Shows all what there is for them; true if there is more.
    pub(super) fn show_followers(&mut self) -> bool {
        let mut more = false;
        let mut gone = Vec::new();
        for (number, follower) in &mut self.followers {
            match follower.proceed(&self.ring, self.named) {
                Next::Wait => {}
                Next::More => more = true,
                Next::Gone => gone.push(*number),
            }
        }
        for number in gone {
            self.dismiss(number);
        }
        more
    }

    fn dismiss(&mut self, number: usize) {
        if let Some(follower) = self.followers.remove(&number) {
            let raw = follower.as_raw_fd();
            let _ = self.poll.registry().deregister(&mut SourceFd(&raw));
        }
    }
}
