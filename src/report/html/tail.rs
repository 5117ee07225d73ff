//! Reference sections: commands, candidates not selected, profiler handoff, files, caveats.

use super::escape::line;
use super::table::{HtmlRow, table};
use super::top::box_of;
use crate::rank::{Decision, Ranking};
use crate::report::handoff::{PROFILERS, behind, lengths};
use crate::report::text::{BIND, candidate, commands as commands_of};
use crate::report::{Report, caveat, facts, markdown, note};

/// The best candidate of every framework; only the winner's is open.
pub fn commands(ranking: &Ranking) -> String {
    if ranking.groups.is_empty() {
        return String::new();
    }
    let mut out = format!(
        "<section id=\"commands\"><h2>Commands</h2>\n<p>The best candidate of each framework: the server command, then the client that measured it. Commands that missed the SLA are \
         marked and not for deployment. {}</p>\n",
        line(BIND)
    );
    for group in &ranking.groups {
        out.push_str(&format!("<h3>{}</h3>\n", line(&note::group_title(ranking, group))));
        for (i, ranked) in group.best_of_frameworks().into_iter().enumerate() {
            let entry = ranked.best.entry();
            let open = if i == 0 && !matches!(group.decision, Decision::None { .. }) { " open" } else { "" };
            let who = candidate(entry);
            let blocks = commands_of(entry);
            let body = if blocks.is_empty() {
                "<p>The row has no command.</p>\n".into()
            } else {
                terminals(&blocks, &format!("Commands of {who}"))
            };
            let (who, place) = (line(&who), markdown::place(group, ranked));
            out.push_str(&format!("<details{open}><summary>{who} ({place})</summary>\n{body}</details>\n"));
        }
    }
    out.push_str("</section>\n");
    out
}

/// A box per terminal with its commands.
fn terminals(blocks: &[String], what: &str) -> String {
    let boxes: Vec<String> = blocks.iter().map(|block| box_of(block, what)).collect();
    boxes.join("<p>When it is ready, in another terminal:</p>\n")
}

/// Candidates that were not selected.
pub fn rejected(ranking: &Ranking) -> String {
    let mut out = String::from("<section id=\"tried\"><h2>Tried and not selected</h2>\n");
    if ranking.rejected.is_empty() {
        out.push_str("<p>Nothing failed, was skipped, or missed the SLA.</p></section>\n");
        return out;
    }
    out.push_str(&format!("<p>{}</p>\n", line(markdown::TRIED)));
    let (rows, row) = (facts::rejected(ranking), |_: usize, row: [String; 6]| HtmlRow::words(&row));
    out.push_str(&table("Tried and not selected", &facts::REJECTED, rows, row));
    if ranking.rejected_more > 0 {
        out.push_str(&format!(
            "<p class=\"more\">{} more results: use <code>--format csv</code> or <code>--format jsonl</code>.</p>\n",
            ranking.rejected_more
        ));
    }
    out.push_str("</section>\n");
    out
}

/// The profiler handoff of the framework that did not win.
pub fn handoff(report: &Report) -> String {
    let behind = behind(report);
    let Some(worst) = behind.first() else { return String::new() };
    let mut out = format!("<section id=\"profiler\"><h2>For a profiler: {}</h2>\n<ul>\n", line(report.handoff));
    for place in &behind {
        let title = note::group_title(report.ranking, place.group);
        let how = place.how();
        let who = candidate(place.own.best.entry());
        let more = match lengths(place.own) {
            Some((input, output)) => format!(
                "<ul><li>prefill profile: {0} tokens in, 1 out</li><li>decode profile: {0} tokens in, {1} out</li></ul>",
                line(&input),
                line(&output)
            ),
            None => "<ul><li>the rows do not give the token lengths of this scenario: measure them before profiling</li></ul>"
                .into(),
        };
        out.push_str(&format!("<li>{}{more}</li>\n", line(&format!("{title}: {who} is behind: {how}."))));
    }
    out.push_str("</ul>\n");
    let blocks = commands_of(worst.own.best.entry());
    if !blocks.is_empty() {
        out.push_str(&format!(
            "<p>Commands to reproduce the slowest of these:</p>\n{}",
            terminals(&blocks, "Commands to reproduce the slowest of these")
        ));
    }
    // Its definition may have another name; then the profiler of the definition is used.
    if let Some(profiler) = PROFILERS.iter().find(|profiler| profiler.framework == report.handoff) {
        let (before, commands) = (line(&profiler.before()), profiler.commands());
        out.push_str(&format!(
            "<p>Its profiler: start the server with {before}.</p>\n{}",
            box_of(&commands, "Start and stop its profiler")
        ));
    }
    out.push_str("</section>\n");
    out
}

/// Files of the candidates shown, as plain text: the page has no external links.
pub fn files(ranking: &Ranking) -> String {
    let files = facts::files(ranking);
    if files.is_empty() {
        return String::new();
    }
    let table = table("Files", &["Candidate", "Role", "Path"], files.into_iter(), |_, row| HtmlRow::words(&row));
    format!(
        "<section id=\"files\"><h2>Files</h2>\n<details><summary>Logs and other files</summary>\n{table}</details></section>\n"
    )
}

/// Caveats.
pub fn caveats(ranking: &Ranking) -> String {
    let caveats = caveat::caveats(ranking);
    if caveats.is_empty() {
        return String::new();
    }
    let items: String = caveats.iter().map(|note| format!("<li>{}</li>\n", line(&note.to_string()))).collect();
    format!("<section id=\"caveats\"><h2>Caveats</h2>\n<ul class=\"caveats\">\n{items}</ul></section>\n")
}
