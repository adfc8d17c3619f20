//! What happened, shown and tried again: the log's pages, the time line, replay, the command line, the catalogue.

mod command_line;
mod pages;
mod replay;
mod retention;
