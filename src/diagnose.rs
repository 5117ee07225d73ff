//! From the text of a log to a failure class and a sentence that says what to do.
