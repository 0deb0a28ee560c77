//! An app for the next image. Its dispatcher has a state of its own, frozen before.

use std::collections::{HashMap, HashSet};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::release::{FrozenRelease, Release};
use super::{App, Apps, Means, Phase};
use crate::config::AppConfig;
use crate::policy::fleet::Fleet;
use crate::policy::ids::{AppId, ListenerId, SlotId};
use crate::primary::backends::resolve::Own;
use crate::primary::backends::{Backends, FrozenBackends};
use crate::primary::dispatcher::{Dispatcher, Frozen};
use crate::primary::listeners::{FrozenListeners, Listeners};
use crate::primary::workers::Workers;
use crate::sys::handover::Luggage;

/// As [`Apps`], without the dispatchers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenApps {
    apps: Vec<FrozenApp>,
    next: u16,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct FrozenApp {
    id: AppId,
    config: AppConfig,
    /// The places of releases in the list of them.
    release: usize,
    releases: Vec<usize>,
    last_generation: u32,
    fleet: Fleet,
    listeners: FrozenListeners,
    dealt: HashSet<ListenerId>,
    queue_cap: usize,
    #[serde(default)]
    held: HashSet<SlotId>,
    last_words: HashMap<SlotId, String>,
    #[serde(default)]
    ended_well: bool,
    phase: Phase,
    last_count: Option<u64>,
    #[serde(default)]
    backends: Option<FrozenBackends>,
}

/// The releases of all apps and workers, each once: who shares one goes on to do so.
#[derive(Debug, Default)]
pub struct Releases(Vec<Rc<Release>>);

impl Releases {
    /// Where this one is.
    pub fn place(&mut self, release: &Rc<Release>) -> usize {
        let known = self.0.iter().position(|one| Rc::ptr_eq(one, release));
        known.unwrap_or_else(|| {
            self.0.push(Rc::clone(release));
            self.0.len() - 1
        })
    }

    /// What the next image needs.
    pub fn freeze(&self) -> Vec<FrozenRelease> {
        self.0.iter().map(|release| release.freeze()).collect()
    }
}

/// The dispatchers of all apps, standing still.
pub type FrozenDispatchers = Vec<(AppId, Frozen)>;

impl Apps {
    /// Stops all dispatchers, and whoever looks after backends; nobody is accepted until they are thawed.
    pub fn freeze_dispatchers(&mut self, luggage: &mut Luggage<'_>) -> FrozenDispatchers {
        for app in self.iter_mut() {
            app.backends.iter_mut().for_each(Backends::stand_still);
        }
        let apps = self.iter_mut();
        apps.map(|app| (app.id, app.dispatcher.freeze(&app.reports, luggage)))
            .collect()
    }

    /// Goes on where they were stopped, in the same image.
    ///
    /// # Errors
    /// Those of [`Dispatcher::thaw`]; `InvalidData` for a dispatcher without an app.
    pub fn thaw_dispatchers(
        &mut self,
        frozen: FrozenDispatchers,
        luggage: &mut Luggage<'_>,
        workers: &Workers,
        means: &Means,
    ) -> io::Result<()> {
        for (id, frozen) in frozen {
            let Some(app) = self.known.get_mut(&id) else {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a dispatcher of no app",
                ));
            };
            let (dispatcher, reports) = thaw_dispatcher(frozen, luggage, workers, means)?;
            (app.dispatcher, app.reports) = (dispatcher, reports);
        }
        self.go_on()
    }

    /// Starts all dispatchers that were thawed: from here on they accept. Backends are looked after again.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub fn go_on(&mut self) -> io::Result<()> {
        for app in self.iter_mut() {
            let mut backends = app.backends.iter_mut();
            backends.try_for_each(|one| one.go_on(Own::of(&app.listeners)))?;
            app.dispatcher.go_on()?;
        }
        self.find_circles();
        Ok(())
    }

    /// What the next image needs.
    pub fn freeze<'a>(&'a self, luggage: &mut Luggage<'a>, releases: &mut Releases) -> FrozenApps {
        let Self { known, next } = self;
        let mut apps = Vec::with_capacity(known.len());
        for app in known.values() {
            apps.push(app.freeze(luggage, releases));
        }
        FrozenApps { apps, next: *next }
    }

    /// As another image left them; the dispatchers do not run yet.
    ///
    /// # Errors
    /// Those of [`Dispatcher::thaw`]; `InvalidData` if something is missing.
    pub fn thaw(
        frozen: FrozenApps,
        dispatchers: FrozenDispatchers,
        luggage: &mut Luggage<'_>,
        (releases, workers, means): (&[Rc<Release>], &Workers, &Means),
    ) -> io::Result<Self> {
        let mut dispatchers: HashMap<AppId, Frozen> = dispatchers.into_iter().collect();
        let mut apps = Self {
            next: frozen.next,
            ..Self::default()
        };
        for frozen in frozen.apps {
            let absent = |what| io::Error::new(io::ErrorKind::InvalidData, what);
            let dispatcher = dispatchers.remove(&frozen.id);
            let dispatcher = dispatcher.ok_or_else(|| absent("an app without a dispatcher"))?;
            let known = |place: usize| releases.get(place).map(Rc::clone);
            let own: Option<Vec<_>> = frozen.releases.iter().copied().map(known).collect();
            let (Some(release), Some(own)) = (known(frozen.release), own) else {
                return Err(absent("an app of no release"));
            };
            let (dispatcher, reports) = thaw_dispatcher(dispatcher, luggage, workers, means)?;
            let backends = frozen.backends;
            let backends = backends.map(|frozen| Backends::thaw(frozen, luggage));
            let backends = backends.transpose()?;
            let app = App {
                id: frozen.id,
                config: Arc::new(frozen.config),
                release,
                releases: own,
                last_generation: frozen.last_generation,
                fleet: frozen.fleet,
                listeners: Listeners::thaw(frozen.listeners, luggage)?,
                dealt: frozen.dealt,
                dispatcher,
                reports,
                queue_cap: frozen.queue_cap,
                held: frozen.held,
                last_words: frozen.last_words,
                ended_well: frozen.ended_well,
                phase: frozen.phase,
                last_count: frozen.last_count,
                backends,
            };
            apps.known.insert(app.id, app);
        }
        Ok(apps)
    }
}

fn thaw_dispatcher(
    frozen: Frozen,
    luggage: &mut Luggage<'_>,
    workers: &Workers,
    means: &Means,
) -> io::Result<(
    Dispatcher,
    crossbeam_channel::Receiver<crate::primary::messages::Report>,
)> {
    let (report, reports) = crossbeam_channel::unbounded();
    let board = |id| workers.get(id).map(|worker| Arc::clone(&worker.board));
    let dispatcher = Dispatcher::thaw(frozen, luggage, board, report, Arc::clone(&means.waker))?;
    Ok((dispatcher, reports))
}

impl App {
    fn freeze<'a>(&'a self, luggage: &mut Luggage<'a>, places: &mut Releases) -> FrozenApp {
        // Named one by one, so that a new one is not forgotten.
        let Self {
            id,
            config,
            release,
            releases,
            last_generation,
            fleet,
            listeners,
            dealt,
            dispatcher: _,
            reports: _,
            queue_cap,
            held,
            last_words,
            ended_well,
            phase,
            last_count,
            backends,
        } = self;
        FrozenApp {
            id: *id,
            config: (**config).clone(),
            release: places.place(release),
            releases: releases.iter().map(|one| places.place(one)).collect(),
            last_generation: *last_generation,
            fleet: fleet.clone(),
            listeners: listeners.freeze(luggage),
            dealt: dealt.clone(),
            queue_cap: *queue_cap,
            held: held.clone(),
            last_words: last_words.clone(),
            ended_well: *ended_well,
            phase: *phase,
            last_count: *last_count,
            backends: backends.as_ref().map(|backends| backends.freeze(luggage)),
        }
    }
}
