//! banyan-rehearse
