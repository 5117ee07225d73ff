//! Takes secrets out of text before it leaves a program.
