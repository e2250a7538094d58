//! [`Spin`], how a thread waits for another that will be there in a moment.

/// Turns with a busy core: about what a short part of a net takes.
const SPINS: u32 = 10_000;
/// Turns with a core that is offered to others, before a wait is long.
const YIELDS: u32 = 200;

/// A waiting loop: it spins, then offers its core.
pub(super) struct Spin {
    turns: u32,
}

impl Spin {
    /// A loop that begins.
    pub(super) fn new() -> Spin {
        Spin { turns: 0 }
    }

    /// One turn.
    pub(super) fn turn(&mut self) {
        self.turns = self.turns.saturating_add(1);
        if self.turns < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
    }

    /// Whether it has waited so long that whoever can sleep should.
    pub(super) fn is_tired(&self) -> bool {
        self.turns > SPINS + YIELDS
    }
}
