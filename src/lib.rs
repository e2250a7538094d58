//! nin: a compiler for Network-In-Network models.
