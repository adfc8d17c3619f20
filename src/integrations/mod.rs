//! Other people's services, one vendor a room.

pub mod mcp;
