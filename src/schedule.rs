//! Arrival schedules: made whole and hashed before the first request is sent.
