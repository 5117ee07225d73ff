//! Slots: disjoint sets of devices of one size, each for one server at a time: `0-3,4-7`, `0+2,1+3`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::cpus::CpuList;

/// Maximum number of devices of a slot.
const MOST: usize = 1024;

/// The devices of one slot: indexes, or names such as `GPU-8f2a`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotDevices(Vec<String>);

impl SlotDevices {
    /// Its devices, in the order in which they were written.
    #[must_use]
    pub fn devices(&self) -> &[String] {
        &self.0
    }

    /// Its devices as CPUs.
    ///
    /// # Errors
    /// A device that is not the number of a CPU.
    pub fn cpus(&self) -> Result<CpuList, String> {
        self.0.join(",").parse()
    }
}

impl FromStr for SlotDevices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut devices = Vec::new();
        for part in text.split('+').map(str::trim) {
            let is_name = part.contains(|c: char| c.is_ascii_alphabetic());
            match part.split_once('-').filter(|_| !is_name) {
                Some((first, last)) => {
                    let range = first.parse::<usize>().ok().zip(last.parse::<usize>().ok());
                    let wrong = || format!("{part:?} is not a range of devices, such as 0-3");
                    let (first, last) =
                        range.filter(|(first, last)| first <= last && *last < MOST).ok_or_else(wrong)?;
                    devices.extend((first..=last).map(|device| device.to_string()));
                }
                None if is_name || part.parse::<usize>().is_ok() => devices.push(part.to_string()),
                None => {
                    return Err(format!("{part:?} is not a device: write its index, a range such as 0-3, or its id"));
                }
            }
        }
        Ok(Self(devices))
    }
}

/// At least two slots without a common device, all of the same size: candidates in different slots are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotList {
    text: String,
    slots: Vec<SlotDevices>,
}

impl SlotList {
    /// The slots.
    #[must_use]
    pub fn slots(&self) -> &[SlotDevices] {
        &self.slots
    }

    /// The devices of all slots together, in their order.
    #[must_use]
    pub fn all(&self) -> SlotDevices {
        SlotDevices(self.slots.iter().flat_map(|slot| slot.0.clone()).collect())
    }
}

impl FromStr for SlotList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let slots: Vec<SlotDevices> = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
        if slots.len() < 2 {
            return Err("at least two slots are needed, separated by a comma: 0-3,4-7".into());
        }
        let mut seen = BTreeSet::new();
        for device in slots.iter().flat_map(|slot| &slot.0) {
            if !seen.insert(device) {
                return Err(format!(
                    "device {device} is in it twice: servers that are measured at the same time share none"
                ));
            }
        }
        if let Some(other) = slots.iter().find(|slot| slot.0.len() != slots[0].0.len()) {
            let (first, other) = (slots[0].0.len(), other.0.len());
            return Err(format!(
                "all slots must have the same size, since candidates in them are compared: {first} and {other} devices"
            ));
        }
        Ok(Self { text: text.split_whitespace().collect(), slots })
    }
}

impl fmt::Display for SlotList {
    /// As it was written, without spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_disjoint_and_of_one_size() {
        let slots = |text: &str| {
            text.parse::<SlotList>().map(|list| list.slots.iter().map(|s| s.0.join(",")).collect::<Vec<_>>())
        };
        assert_eq!(slots("0-3,4-7").unwrap(), ["0,1,2,3", "4,5,6,7"]);
        assert_eq!(slots("0+2, 1+3").unwrap(), ["0,2", "1,3"]);
        assert_eq!(slots("0-1+8-9,2-3+10-11").unwrap(), ["0,1,8,9", "2,3,10,11"]);
        assert_eq!(slots("GPU-8f2a,MIG-1b").unwrap(), ["GPU-8f2a", "MIG-1b"]);
        for (wrong, why) in [
            ("0-3", "at least two"),
            ("0-3,3-6", "device 3 is in it twice"),
            ("0-1,2", "2 and 1 devices"),
            ("0-,1", "\"0-\""),
            ("3-0,4", "\"3-0\""),
            ("0,", "\"\""),
            ("", "\"\""),
        ] {
            let error = slots(wrong).unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }

    #[test]
    fn the_devices_of_a_slot_may_be_cpus() {
        let list: SlotList = "0-1,2+5".parse().unwrap();
        assert_eq!(list.slots()[1].cpus().unwrap().to_string(), "2,5");
        assert_eq!(list.all().devices().join(","), "0,1,2,5");
        assert_eq!(list.to_string(), "0-1,2+5");
        assert!("GPU-8f2a,1".parse::<SlotList>().unwrap().slots()[0].cpus().is_err());
    }
}
