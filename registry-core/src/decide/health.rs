//! Why this exists: what is written into a stream of health is read by rules that take models out of production, so what
//! makes no sense is refused at the door.

use crate::event::Event;
use crate::invalid::Invalid;
use crate::monitor::Summary;

/// How many summaries one report may hold.
const SUMMARIES_MAX: usize = 1_000;

pub(super) fn report(summaries: &[Summary]) -> Result<Vec<Event>, Invalid> {
    if SUMMARIES_MAX < summaries.len() {
        let problem = format!("a report holds at most {SUMMARIES_MAX} summaries; send several");
        return Err(Invalid::new("report", summaries.len(), problem));
    }
    for Summary { metric, from, until, observed, .. } in summaries {
        let refused = |problem: &str| Err(Invalid::new("summary", metric, problem));
        if until < from {
            return refused("ends before it begins");
        }
        if observed.count == 0 && observed.not_numbers == 0 {
            return refused("rests on no observation");
        }
        if (observed.count == 0) != observed.numbers.is_none() {
            return refused("says how many numbers there were and not which, or the other way round");
        }
        if let Some(numbers) = &observed.numbers
            && !(numbers.min <= numbers.mean && numbers.mean <= numbers.max)
        {
            return refused("the mean does not lie between the smallest and the largest");
        }
    }
    match summaries {
        [] => Ok(Vec::new()),
        some => Ok(vec![Event::HealthReported { summaries: some.to_vec() }]),
    }
}
