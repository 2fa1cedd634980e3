//! banyan-sim
