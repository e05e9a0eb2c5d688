//! A small reactor: point kinetics with six groups of delayed neutrons, fuel temperature and control rods.
//!
//! Powers are parts of nominal power (1.0), temperatures degrees Celsius, times seconds, reactivities plain
//! numbers (0.0065 is one dollar).

use super::chance::Chance;

/// Part of all neutrons that comes late, by group (uranium 235, thermal).
const DELAYED: [f64; 6] = [0.000_215, 0.001_424, 0.001_274, 0.002_568, 0.000_748, 0.000_273];
/// How fast each group decays, per second.
const DECAY: [f64; 6] = [0.0124, 0.0305, 0.111, 0.301, 1.14, 3.01];
/// From one generation of neutrons to the next, in seconds.
const GENERATION: f64 = 1e-4;
/// What pulling all rods from their critical position adds; less than the delayed part, so power follows slowly.
const ROD_WORTH: f64 = 0.010;
/// What each degree of fuel above the design point takes away.
const FEEDBACK: f64 = -2e-5;
/// Fuel temperature at nominal power.
const DESIGN_FUEL: f64 = 600.0;
/// Coolant temperature, on average.
const COOLANT: f64 = 280.0;
/// Time in which fuel follows power, in seconds.
const FUEL_LAG: f64 = 4.0;
/// The longest step that stays exact: the prompt neutrons' time constant is about 15 ms.
const MAX_STEP: f64 = 0.005;

/// Above this power the rods fall by themselves.
pub const SCRAM_POWER: f64 = 1.5;

/// A reactor at work.
#[derive(Clone, Debug)]
pub struct Reactor {
    state: Levels,
    /// How far the rods are in, from 0 (out) to 1 (in).
    rods: f64,
    scrammed: bool,
    time: f64,
    energy: f64,
    noise: Chance,
}

/// What the equations move.
#[derive(Clone, Copy, Debug)]
struct Levels {
    power: f64,
    precursors: [f64; 6],
    fuel: f64,
}

/// What the control room sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Readout {
    /// Seconds since the start.
    pub time: f64,
    /// Part of nominal power.
    pub power: f64,
    /// Fuel temperature, °C.
    pub fuel: f64,
    /// How far the rods are in, from 0 to 1.
    pub rods: f64,
    /// Whether the rods fell by themselves.
    pub scrammed: bool,
}

impl Reactor {
    /// A reactor at nominal power, critical, its rods half in. `seed` decides how its coolant wavers.
    pub fn new(seed: u64) -> Self {
        let precursors = std::array::from_fn(|group| DELAYED[group] / (GENERATION * DECAY[group]));
        let state = Levels { power: 1.0, precursors, fuel: DESIGN_FUEL };
        Self { state, rods: 0.5, scrammed: false, time: 0.0, energy: 0.0, noise: Chance::new(seed) }
    }

    /// Moves the rods to `insertion` (0 out, 1 in); fallen rods stay where they are.
    pub fn set_rods(&mut self, insertion: f64) {
        if !self.scrammed {
            self.rods = insertion.clamp(0.0, 1.0);
        }
    }

    /// Lets all rods fall.
    pub fn scram(&mut self) {
        self.rods = 1.0;
        self.scrammed = true;
    }

    /// Lets `seconds` pass.
    pub fn run(&mut self, seconds: f64) {
        let end = self.time + seconds;
        while end - self.time > 1e-9 {
            self.step((end - self.time).min(MAX_STEP));
        }
    }

    /// What the control room sees now.
    pub fn read(&self) -> Readout {
        let Self { state, rods, scrammed, time, .. } = self;
        Readout { time: *time, power: state.power, fuel: state.fuel, rods: *rods, scrammed: *scrammed }
    }

    /// Energy made since the start, in seconds of nominal power.
    pub fn energy(&self) -> f64 {
        self.energy
    }

    /// One step of the classical Runge-Kutta method.
    fn step(&mut self, dt: f64) {
        let coolant = COOLANT + self.noise.between(-1.0, 1.0);
        let slope = |levels: Levels| levels.slope(rod_reactivity(self.rods), coolant);
        let first = slope(self.state);
        let second = slope(self.state.moved(first, dt / 2.0));
        let third = slope(self.state.moved(second, dt / 2.0));
        let fourth = slope(self.state.moved(third, dt));
        let before = self.state.power;
        for (slope, weight) in [(first, 1.0), (second, 2.0), (third, 2.0), (fourth, 1.0)] {
            self.state = self.state.moved(slope, dt * weight / 6.0);
        }
        self.time += dt;
        self.energy += dt * f64::midpoint(before, self.state.power);
        if self.state.power > SCRAM_POWER {
            self.scram();
        }
    }
}

/// Rods bite most in the middle of the core and hardly at its ends.
fn rod_reactivity(insertion: f64) -> f64 {
    let full_turn = std::f64::consts::TAU;
    let bitten = insertion - (full_turn * insertion).sin() / full_turn;
    ROD_WORTH * (0.5 - bitten)
}

impl Levels {
    fn slope(self, rods: f64, coolant: f64) -> Self {
        let reactivity = rods + FEEDBACK * (self.fuel - DESIGN_FUEL);
        let late: f64 = DELAYED.iter().sum();
        let born: f64 = DECAY.iter().zip(self.precursors).map(|(decay, level)| decay * level).sum();
        let equilibrium = coolant + (DESIGN_FUEL - COOLANT) * self.power;
        Self {
            power: (reactivity - late) / GENERATION * self.power + born,
            precursors: std::array::from_fn(|group| {
                DELAYED[group] / GENERATION * self.power - DECAY[group] * self.precursors[group]
            }),
            fuel: (equilibrium - self.fuel) / FUEL_LAG,
        }
    }

    fn moved(self, slope: Self, dt: f64) -> Self {
        Self {
            power: self.power + slope.power * dt,
            precursors: std::array::from_fn(|group| self.precursors[group] + slope.precursors[group] * dt),
            fuel: self.fuel + slope.fuel * dt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: f64, rods: f64) -> Readout {
        let mut reactor = Reactor::new(7);
        reactor.set_rods(rods);
        reactor.run(seconds);
        reactor.read()
    }

    #[test]
    fn a_critical_reactor_keeps_its_power() {
        let end = after(20.0, 0.5);
        assert!((end.power - 1.0).abs() < 0.01, "{end:?}");
        assert!((end.fuel - DESIGN_FUEL).abs() < 5.0, "{end:?}");
        assert!((end.time - 20.0).abs() < 1e-6);
    }

    #[test]
    fn rods_in_means_less_power_and_rods_out_more() {
        let (inside, middle, outside) = (after(5.0, 0.55), after(5.0, 0.5), after(5.0, 0.45));
        assert!(inside.power < middle.power && middle.power < outside.power, "{inside:?} {middle:?} {outside:?}");
        assert!(inside.fuel < outside.fuel);
    }

    #[test]
    fn hot_fuel_holds_power_back() {
        // Without feedback 5 per cent of withdrawal would double the power again and again.
        let end = after(120.0, 0.45);
        assert!(end.power > 1.02 && end.power < SCRAM_POWER && !end.scrammed, "{end:?}");
    }

    #[test]
    fn too_much_power_drops_the_rods_for_good() {
        let mut reactor = Reactor::new(7);
        reactor.set_rods(0.0);
        reactor.run(10.0);
        reactor.set_rods(0.0);
        let end = reactor.read();
        assert!(end.scrammed && end.rods > 0.999 && end.power < 0.5, "{end:?}");
    }

    #[test]
    fn one_seed_is_one_history_and_steps_do_not_matter() {
        assert_eq!(after(3.0, 0.4), after(3.0, 0.4));
        let mut other = Reactor::new(8);
        other.set_rods(0.4);
        other.run(3.0);
        assert_ne!(other.read(), after(3.0, 0.4));
        let mut piecewise = Reactor::new(7);
        piecewise.set_rods(0.4);
        (0..30).for_each(|_| piecewise.run(0.1));
        assert!((piecewise.read().power - after(3.0, 0.4).power).abs() < 1e-3);
    }

    #[test]
    fn energy_is_power_over_time() {
        let mut reactor = Reactor::new(1);
        reactor.run(10.0);
        assert!((reactor.energy() - 10.0).abs() < 0.1, "{}", reactor.energy());
    }
}
