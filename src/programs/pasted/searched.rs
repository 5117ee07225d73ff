//! The values to try beside a pasted command: those of a new plan, around what the command has.

use serde_json::Value;

use crate::rows::kinds::Members;

/// Adds the command's own value to the values of each knob. For a count that is the largest, the values become half of it, it
/// and twice of it, because the load that the command was made for is unknown.
pub fn around(searched: &mut Members, base: &Members) {
    for (knob, values) in searched {
        let (Some(list), Some(own)) = (values.as_array_mut(), base.get(knob)) else { continue };
        let largest = list.iter().filter_map(Value::as_u64).max();
        match (own.as_u64(), largest) {
            (Some(own), Some(largest)) if own >= largest && own > 1 => {
                // 0 means no limit, or that it is off.
                let off = list.contains(&0.into()).then_some(0);
                *list = off.into_iter().chain([own / 2, own, own.saturating_mul(2)]).map(Value::from).collect();
            }
            _ if list.contains(own) => {}
            _ => {
                list.push(own.clone());
                let number = |value: &Value| value.as_f64();
                if list.iter().all(Value::is_number) {
                    list.sort_by(|a, b| number(a).unwrap_or_default().total_cmp(&number(b).unwrap_or_default()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_around_those_of_the_command() {
        for (values, own, around_it) in [
            (json!([32, 64, 128]), json!(512), json!([256, 512, 1024])),
            (json!([32, 64, 128]), json!(128), json!([64, 128, 256])),
            (json!([32, 64, 128]), json!(48), json!([32, 48, 64, 128])),
            (json!([32, 64, 128]), json!(64), json!([32, 64, 128])),
            (json!([0, 4096]), json!(8192), json!([0, 4096, 8192, 16384])),
            (json!([0.8, 0.9]), json!(0.95), json!([0.8, 0.9, 0.95])),
            (json!(["lpm", "fcfs"]), json!("dfs-weight"), json!(["lpm", "fcfs", "dfs-weight"])),
            (json!([true, false]), json!(true), json!([true, false])),
        ] {
            let mut searched = Members::from_iter([("knob".to_string(), values.clone()), ("other".into(), json!([1]))]);
            around(&mut searched, &Members::from_iter([("knob".to_string(), own.clone())]));
            assert_eq!((&searched["knob"], &searched["other"]), (&around_it, &json!([1])), "{values} {own}");
        }
    }
}
