//! Interactivity (tok/s/user) against throughput per GPU, and the Pareto front of the candidates.

use super::chart::{Chart, figure};
use super::escape::line;
use super::scale::sane;
use super::trials::point;
use crate::rank::{Group, Trial};
use crate::report::text::{candidate, number};

/// Maximum number of load points to draw, taken from the best candidates.
const MOST: usize = 400;
/// Maximum number of points on the front with a letter.
const LETTERS: usize = 12;

struct ParetoPoint<'a> {
    rank: usize,
    trial: &'a Trial,
    at: (f64, f64),
}

/// Output tokens per second per user, and per GPU.
fn at(trial: &Trial) -> Option<(f64, f64)> {
    let tpot = sane(trial.metric("mean_tpot_ms")).filter(|tpot| *tpot > 0.0)?;
    let gpus = trial.keys().gpus.filter(|n| *n > 0.0)?;
    Some((sane(Some(1000.0 / tpot))?, sane(trial.metric("output_token_throughput").map(|n| n / gpus))?))
}

/// The Pareto front, from left to right.
fn front(places: &[ParetoPoint]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    let of = |i: usize| places[i].at;
    order.sort_by(|a, b| {
        of(*b).0.total_cmp(&of(*a).0).then_with(|| of(*b).1.total_cmp(&of(*a).1)).then_with(|| a.cmp(b))
    });
    let mut best = f64::NEG_INFINITY;
    order.retain(|i| {
        let ahead = of(*i).1 > best;
        best = best.max(of(*i).1);
        ahead
    });
    order.reverse();
    order
}

/// The plot; empty for fewer than two comparable points.
pub fn plot(group: &Group) -> String {
    let trials = group.ranked.iter().enumerate().flat_map(|(i, ranked)| ranked.trials().map(move |trial| (i, trial)));
    let places: Vec<ParetoPoint> =
        trials.take(MOST).filter_map(|(rank, trial)| Some(ParetoPoint { rank, trial, at: at(trial)? })).collect();
    if places.len() < 2 {
        return String::new();
    }
    let values: Vec<(f64, f64)> = places.iter().map(|place| place.at).collect();
    let names = ["Output tok/s/user", "Output tok/s/GPU"];
    let Some(mut chart) = Chart::new(&values, None, names) else { return String::new() };
    let front = front(&places);
    let line_of: Vec<(f64, f64)> = front.iter().map(|i| places[*i].at).collect();
    chart.through(&line_of, "front");
    let words = |place: &ParetoPoint| {
        let (user, gpu) = (number(Some(place.at.0)), number(Some(place.at.1)));
        format!("{}: {user} tok/s/user, {gpu} tok/s/GPU", point(place.rank, place.trial))
    };
    for (_, place) in places.iter().enumerate().filter(|(i, _)| !front.contains(i)) {
        chart.dot(place.at, place.trial.passed() == Some(false), &words(place));
    }
    for i in &front {
        chart.point(places[*i].at, 0, places[*i].trial.passed() == Some(false), &words(&places[*i]));
    }
    let lettered = || front.iter().zip('A'..='Z').take(LETTERS);
    for (i, letter) in lettered() {
        chart.label(places[*i].at, &letter.to_string());
    }
    let item = |place: &ParetoPoint| {
        let (trial, load) = (place.trial, place.trial.load());
        let at = if load.is_empty() { load } else { format!(" at {load}") };
        let fails = if trial.passed() == Some(false) { ", ✗ misses the SLA" } else { "" };
        let (user, gpu) = (number(Some(place.at.0)), number(Some(place.at.1)));
        format!("{}{at}: {user} and {gpu}{fails} (rank {})", candidate(trial.entry()), place.rank + 1)
    };
    let items: String =
        lettered().map(|(i, letter)| format!("<li><b>{letter}</b> {}</li>", line(&item(&places[*i])))).collect();
    let more = match front.len() {
        n if n > LETTERS => format!("<p class=\"more\">{} more points on the front have no letter.</p>", n - LETTERS),
        _ => String::new(),
    };
    let hollow = if places.iter().any(|place| place.trial.passed() == Some(false)) {
        " Hollow points miss the SLA."
    } else {
        ""
    };
    let how = format!(
        "To the right, each user sees tokens faster (1000 / mean TPOT); upwards, a GPU generates more. The line is the Pareto front: no \
         load point beats one of these in both. Small dots are behind it.{hollow} The list gives both numbers."
    );
    let desc: Vec<String> = lettered().map(|(i, letter)| format!("{letter}: rank {}", words(&places[*i]))).collect();
    let svg = chart.finish("Output tok/s/GPU against output tok/s/user", &desc.join("; "));
    figure(
        "plot",
        "Interactivity (tok/s/user) vs. throughput per GPU",
        &how,
        &format!("{svg}<ul class=\"legend long\">{items}</ul>{more}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rank::Intake;

    #[test]
    fn the_front_is_what_nobody_beats() {
        let row = r#"{"framework":"f","candidate_id":"c","metrics":{}}"#;
        let entry = Intake::default().line(row).ok().flatten().expect("a row");
        let trial = Trial::of(entry, Vec::new());
        let place = |x: f64, y: f64| ParetoPoint { rank: 0, trial: &trial, at: (x, y) };
        let places =
            [place(1.0, 9.0), place(2.0, 8.0), place(1.5, 7.0), place(3.0, 1.0), place(3.0, 1.0), place(2.0, 1.0)];
        assert_eq!(front(&places), [0, 1, 3]);
    }
}
