//! Random walks over all that can happen to backends, and what must hold at every step of them.
