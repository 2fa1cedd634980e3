//! banyan-log
