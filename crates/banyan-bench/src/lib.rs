//! banyan-bench
