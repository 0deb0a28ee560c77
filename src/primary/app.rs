//! One app of the primary while it runs: its listeners, its dispatcher, its slots, and the releases that these
//! are started from.
//!
//! Holds and answers; what happens to an app is decided and done by the supervisor.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::ops::{Index, IndexMut};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use crossbeam_channel::Receiver;
use mio::Waker;
use serde::{Deserialize, Serialize};

use crate::config::{AppConfig, Balance};
use crate::error::{Error, Result};
use crate::policy::fleet::{self, Fleet};
use crate::policy::ids::{AppId, ListenerId, SlotId};
use crate::primary::backends::resolve::{Own, Way};
use crate::primary::backends::{self, Backends};
use crate::primary::dispatcher::{self, Dispatcher};
use crate::primary::listeners::{self, Listeners};
use crate::primary::messages::Report;

pub mod frozen;
pub mod release;
pub mod room;

use release::Release;
use room::Room;

/// How far the end of an app has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Not begun.
    Serving,
    /// The listeners are closed, what was accepted is being dealt.
    Finishing,
    /// All is dealt; the workers finish what they have.
    Draining,
    /// The workers were told to go.
    Leaving,
}

impl Phase {
    /// No stop has begun.
    pub fn is_serving(self) -> bool {
        self == Self::Serving
    }
}

/// An app at work.
#[derive(Debug)]
pub struct App {
    /// Its number.
    pub id: AppId,
    /// As it is now; what its workers were started by is in their releases.
    pub config: Arc<AppConfig>,
    /// What new slots are started from.
    pub release: Rc<Release>,
    /// What each slot's next worker is started from.
    pub releases: Vec<Rc<Release>>,
    /// The latest generation, aborted ones included.
    pub last_generation: u32,
    /// Which slots there are, and what each is doing.
    pub fleet: Fleet,
    /// Its listening sockets.
    pub listeners: Listeners,
    /// Listeners whose sockets the dispatcher has.
    pub dealt: HashSet<ListenerId>,
    /// The thread that deals its connections.
    pub dispatcher: Dispatcher,
    /// What the dispatcher says.
    pub reports: Receiver<Report>,
    /// Room in each channel, connections.
    pub queue_cap: usize,
    /// Slots that are dealt nothing, whatever worker sits there.
    pub held: HashSet<SlotId>,
    /// How the last worker of a slot ended.
    pub last_words: HashMap<SlotId, String>,
    /// All workers whose end was of interest have ended with success.
    pub ended_well: bool,
    /// How far its end has come.
    pub phase: Phase,
    /// Open connections when they were last counted for its end.
    pub last_count: Option<u64>,
    /// What it leads to, if it is a proxy.
    pub backends: Option<Backends>,
}

impl App {
    /// What the next worker of this slot is started from.
    pub fn release_for(&self, slot: SlotId) -> Rc<Release> {
        let own = self.releases.get(slot.index());
        own.unwrap_or(&self.release).clone()
    }
}

/// An app whose addresses are taken and whose command is found: nothing of it runs yet.
#[derive(Debug)]
pub struct Prepared {
    config: Arc<AppConfig>,
    release: Rc<Release>,
    listeners: Listeners,
    backends: Option<backends::Prepared>,
}

/// What all apps of a primary share.
#[derive(Clone, Debug)]
pub struct Means {
    /// What the limit of open files allows.
    pub room: Room,
    /// Wakes the main thread.
    pub waker: Arc<Waker>,
    /// CPUs that may be used.
    pub cpus: usize,
    /// Secret of the sticky hash.
    pub hash_key: (u64, u64),
}

impl Prepared {
    /// Checks and opens all that can fail: `home` is where workers are started unless the app says.
    ///
    /// # Errors
    /// One sentence: a command that cannot be run, an address that cannot be listened on.
    pub fn new(config: AppConfig, inherited: Vec<OwnedFd>, home: Option<&Path>) -> Result<Self> {
        let config = Arc::new(config);
        let release = Rc::new(Release::find(1, config.clone(), home)?);
        let settings = listener_settings(&config);
        let listeners = Listeners::open(&config.listen, inherited, settings)?;
        if config.routing.balance == Balance::Kernel && listeners.shares_a_port_between_doors() {
            return Err(Error::usage(
                "with --balance kernel each port of the server has one listening socket: give it one -l",
            ));
        }
        let backends = config.proxy.as_ref();
        let backends = backends.map(|proxy| backends::Prepared::new(proxy, &listeners));
        Ok(Self {
            backends: backends.transpose()?,
            config,
            release,
            listeners,
        })
    }

    /// Resolves the names of backends now. Blocks: not for while others are served; there, names come later.
    ///
    /// # Errors
    /// One sentence: a name that has no address.
    pub fn resolve(&mut self) -> Result<()> {
        self.backends
            .as_mut()
            .map_or(Ok(()), backends::Prepared::resolve)
    }

    /// The first TCP port that is known.
    pub fn first_port(&self) -> Option<u16> {
        self.listeners.first_port()
    }

    /// Starts its dispatcher; its workers are up to the supervisor.
    ///
    /// # Errors
    /// Those of [`Dispatcher::start`].
    pub fn start(self, id: AppId, means: &Means) -> io::Result<App> {
        let Self {
            config,
            release,
            listeners,
            backends,
        } = self;
        let backends = backends.map(|prepared| prepared.start(&config, means));
        let (report, reports) = crossbeam_channel::unbounded();
        let settings = dispatcher::Settings {
            slots: config.workers,
            routing: config.routing.clone(),
            hash_key: means.hash_key,
            queue_cap: means.room.queue_cap,
            max_held: config.max_held,
            steal_after: config.steal_after,
            gather_max: config.speed.gather_max,
            fd_ceiling: means.room.fd_ceiling,
            peek_room: means.room.peeked,
            for_proxies: config.proxy.is_some(),
        };
        let dispatcher = Dispatcher::start(settings, report, means.waker.clone())?;
        release.warn_of_habits(&[]);
        Ok(App {
            id,
            releases: vec![release.clone(); config.workers],
            last_generation: release.generation,
            release,
            fleet: Fleet::new(fleet::Settings {
                slots: config.workers,
                restart: config.restart.clone(),
            }),
            config,
            listeners,
            dealt: HashSet::new(),
            dispatcher,
            reports,
            queue_cap: means.room.queue_cap,
            held: HashSet::new(),
            last_words: HashMap::new(),
            ended_well: true,
            phase: Phase::Serving,
            last_count: None,
            backends: backends.transpose()?,
        })
    }
}

/// What its listeners have in common.
pub fn listener_settings(config: &AppConfig) -> listeners::Settings {
    let own = nix::unistd::geteuid().as_raw();
    listeners::Settings {
        backlog: config.backlog,
        defer_accept: config.speed.defer_accept,
        own_user: config.identity.as_ref().is_none_or(|who| who.uid == own),
    }
}

/// All apps of the primary, by number.
#[derive(Debug, Default)]
pub struct Apps {
    known: BTreeMap<AppId, App>,
    next: u16,
}

impl Apps {
    /// An app for each of these.
    ///
    /// # Errors
    /// Those of [`Prepared::start`].
    pub fn start(prepared: Vec<Prepared>, means: &Means) -> io::Result<Self> {
        let mut apps = Self::default();
        for one in prepared {
            apps.add(one, means)?;
        }
        apps.find_circles();
        Ok(apps)
    }

    /// One more.
    ///
    /// # Errors
    /// Those of [`Prepared::start`].
    pub fn add(&mut self, prepared: Prepared, means: &Means) -> io::Result<AppId> {
        let id = AppId(self.next);
        let app = prepared.start(id, means)?;
        self.next += 1;
        self.known.insert(id, app);
        Ok(id)
    }

    /// Takes out one whose end is complete.
    pub fn remove(&mut self, id: AppId) -> Option<App> {
        self.known.remove(&id)
    }

    /// Where each proxy must not lead: to where it listens itself, and to others that lead back. To be called when
    /// listeners or backends have changed.
    pub fn find_circles(&mut self) {
        let way = |app: &App| Way {
            app: app.config.name.clone(),
            listens: app.listeners.places().collect(),
            leads: app
                .backends
                .as_ref()
                .map(Backends::leads)
                .unwrap_or_default(),
        };
        if self.iter().all(|app| app.backends.is_none()) {
            return;
        }
        // One after the other: what is taken out of one opens the circle for all.
        for id in self.ids() {
            let ways: Vec<Way> = self.iter().map(way).collect();
            let index = self.known.keys().position(|one| *one == id).unwrap_or(0);
            if let Some(backends) = self
                .known
                .get_mut(&id)
                .and_then(|app| app.backends.as_mut())
            {
                backends.stay_out_of(Own::among(&ways, index));
            }
        }
    }

    /// All, in the order in which they were made.
    pub fn iter(&self) -> impl Iterator<Item = &App> {
        self.known.values()
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut App> {
        self.known.values_mut()
    }

    /// Their numbers.
    pub fn ids(&self) -> Vec<AppId> {
        self.known.keys().copied().collect()
    }

    /// The app of this number, if it is still there.
    pub fn get(&self, id: AppId) -> Option<&App> {
        self.known.get(&id)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: AppId) -> Option<&mut App> {
        self.known.get_mut(&id)
    }

    /// The serving app of this name.
    pub fn named(&self, name: &str) -> Option<&App> {
        let mut serving = self.iter().filter(|app| app.phase.is_serving());
        serving.find(|app| app.config.name == name)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.known.len()
    }
}

impl Index<AppId> for Apps {
    type Output = App;

    fn index(&self, id: AppId) -> &App {
        self.known.get(&id).expect("an app outlives its workers")
    }
}

impl IndexMut<AppId> for Apps {
    fn index_mut(&mut self, id: AppId) -> &mut App {
        self.known
            .get_mut(&id)
            .expect("an app outlives its workers")
    }
}
