//! Whose turn it is to get free slots, where a worker has several queues.

use std::ops::Range;

use rand::{Rng, RngExt};

use crate::worker::settings::Order;

/// A queue of a worker's, or all partitions of one: they share its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Places among the worker's queues.
    pub(crate) queues: Range<usize>,
    pub(crate) weight: u32,
}

/// What can be asked of a queue just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prospect {
    /// Nothing: it gave no more when it was last asked, or it does not answer.
    None,
    /// It is being asked, and may have more.
    UnderWay,
    /// It may give jobs.
    Open,
}

/// Divides free slots among a worker's queues.
#[derive(Debug)]
pub(super) struct Turns {
    order: Order,
    groups: Vec<Group>,
    /// Whose turn has come and not been taken, as it was being asked.
    held: Option<usize>,
}

impl Turns {
    pub(super) fn new(order: Order, groups: Vec<Group>) -> Self {
        Self { order, groups, held: None }
    }

    /// How many jobs each queue is asked for, `most` at the most: all that is free goes to the group whose turn it is, in even shares
    /// to its queues that can be asked. What is free is kept for a group that is being asked: its turn would else go to
    /// whoever has a slot free in the meantime, whatever its place or weight.
    pub(super) fn divide(
        &mut self,
        mut free: usize,
        most: usize,
        prospects: &[Prospect],
        rng: &mut impl Rng,
    ) -> Vec<usize> {
        let mut shares = vec![0; prospects.len()];
        let mut left: Vec<usize> =
            (0..self.groups.len()).filter(|group| self.has_prospect(*group, prospects)).collect();
        self.held = self.held.filter(|held| left.contains(held));
        while free > 0 && !left.is_empty() {
            let turn = self.held.take().unwrap_or_else(|| self.draw(&left, rng));
            let queues = self.groups[turn].queues.clone();
            let mut open: Vec<usize> = queues.filter(|queue| prospects[*queue] == Prospect::Open).collect();
            if open.is_empty() {
                self.held = Some(turn);
                break;
            }
            if open.len() > 1 {
                let first = rng.random_range(0..open.len()); // where there are fewer slots than queues, each gets some in time
                open.rotate_left(first);
            }
            for (nth, queue) in open.iter().enumerate() {
                let share = free.div_ceil(open.len() - nth).min(most);
                shares[*queue] = share;
                free -= share;
            }
            left.retain(|group| *group != turn);
        }
        shares
    }

    fn has_prospect(&self, group: usize, prospects: &[Prospect]) -> bool {
        self.groups[group].queues.clone().any(|queue| prospects[queue] != Prospect::None)
    }

    /// One of `left`: the first, or by chance and weight.
    fn draw(&self, left: &[usize], rng: &mut impl Rng) -> usize {
        if self.order == Order::Strict || left.len() == 1 {
            return left[0];
        }
        let weight = |group: &usize| u64::from(self.groups[*group].weight);
        let mut draw = rng.random_range(0..left.iter().map(weight).sum());
        let hit = left.iter().find(|group| {
            let is_hit = draw < weight(group);
            draw = draw.saturating_sub(weight(group));
            is_hit
        });
        hit.copied().unwrap_or(left[0])
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::Prospect::{None as Nothing, Open, UnderWay};
    use super::*;
    use crate::broker::MAX_BATCH;

    fn turns(order: Order, groups: &[(usize, u32)]) -> Turns {
        let mut first = 0;
        let groups = groups.iter().map(|(queues, weight)| {
            let queues = first..first + queues;
            first = queues.end;
            Group { queues, weight: *weight }
        });
        Turns::new(order, groups.collect())
    }

    fn rng() -> StdRng {
        StdRng::seed_from_u64(7)
    }

    #[test]
    fn one_queue_gets_all_but_no_more_than_a_batch() {
        let mut turns = turns(Order::Strict, &[(1, 1)]);
        assert_eq!(turns.divide(10, MAX_BATCH, &[Open], &mut rng()), [10]);
        assert_eq!(turns.divide(MAX_BATCH + 1, MAX_BATCH, &[Open], &mut rng()), [MAX_BATCH]);
        assert_eq!(turns.divide(10, MAX_BATCH, &[UnderWay], &mut rng()), [0]);
        assert_eq!(turns.divide(10, MAX_BATCH, &[Nothing], &mut rng()), [0]);
        assert_eq!(turns.divide(10, 4, &[Open], &mut rng()), [4]);
        assert_eq!(turns.divide(0, MAX_BATCH, &[Open], &mut rng()), [0]);
    }

    #[test]
    fn later_queues_wait_while_an_earlier_one_may_have_any() {
        let mut turns = turns(Order::Strict, &[(1, 1), (1, 100)]);
        assert_eq!(turns.divide(3, MAX_BATCH, &[Open, Open], &mut rng()), [3, 0]);
        assert_eq!(turns.divide(3, MAX_BATCH, &[UnderWay, Open], &mut rng()), [0, 0]);
        assert_eq!(turns.divide(3, MAX_BATCH, &[Nothing, Open], &mut rng()), [0, 3]);
        assert_eq!(turns.divide(MAX_BATCH + 3, MAX_BATCH, &[Open, Open], &mut rng()), [MAX_BATCH, 3]);
    }

    #[test]
    fn partitions_share_evenly_with_those_that_can_be_asked() {
        let mut turns = turns(Order::Strict, &[(4, 1)]);
        assert_eq!(turns.divide(8, MAX_BATCH, &[Open; 4], &mut rng()), [2; 4]);
        assert_eq!(turns.divide(8, MAX_BATCH, &[Open, UnderWay, Nothing, Open], &mut rng()), [4, 0, 0, 4]);
        let mut uneven = turns.divide(6, MAX_BATCH, &[Open; 4], &mut rng());
        uneven.sort_unstable();
        assert_eq!(uneven, [1, 1, 2, 2]);
    }

    #[test]
    fn fewer_slots_than_partitions_reach_each_in_time() {
        let (mut turns, mut rng) = (turns(Order::Strict, &[(4, 1)]), rng());
        let mut sums = [0; 4];
        for _ in 0..4_000 {
            let shares = turns.divide(1, MAX_BATCH, &[Open; 4], &mut rng);
            assert_eq!(shares.iter().sum::<usize>(), 1);
            sums.iter_mut().zip(shares).for_each(|(sum, share)| *sum += share);
        }
        assert!(sums.iter().all(|sum| (800..1_200).contains(sum)), "{sums:?}");
    }

    /// Two queues that always have work, one slot at a time: each is under way while the other one's slot falls free.
    #[test]
    fn a_turn_that_has_come_is_kept_so_weights_hold() {
        let (mut turns, mut rng) = (turns(Order::Weighted, &[(1, 3), (1, 1)]), rng());
        let (mut sums, mut last) = ([0; 2], [Open; 2]);
        for _ in 0..20_000 {
            let shares = turns.divide(1, MAX_BATCH, &last, &mut rng);
            last = [Open; 2];
            for (queue, share) in shares.iter().enumerate() {
                if *share > 0 {
                    sums[queue] += 1;
                    last[queue] = UnderWay; // until the next slot is free
                }
            }
        }
        let ratio = f64::from(sums[0]) / f64::from(sums[1]);
        assert!((2.6..3.4).contains(&ratio), "{sums:?}");
    }

    #[test]
    fn a_turn_is_not_kept_for_who_has_nothing_any_more() {
        let mut turns = turns(Order::Strict, &[(1, 1), (1, 1)]);
        assert_eq!(turns.divide(2, MAX_BATCH, &[UnderWay, Open], &mut rng()), [0, 0]);
        assert_eq!(turns.divide(2, MAX_BATCH, &[Nothing, Open], &mut rng()), [0, 2]);
    }
}
