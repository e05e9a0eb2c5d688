//! What a worker counts for the feature `metrics`; without it, nothing, at no cost.

#[cfg(not(feature = "metrics"))]
mod off;
#[cfg(feature = "metrics")]
mod on;

#[cfg(not(feature = "metrics"))]
pub(crate) use self::off::Meters;
#[cfg(feature = "metrics")]
pub(crate) use self::on::Meters;

/// Why an outcome that was counted is not stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NotStored {
    /// The job's lease was lost.
    Late,
    /// The broker refused it for good.
    Refused,
    /// The broker did not answer in the time that a stop has for it.
    Unreported,
    /// What was to be stored panicked; another outcome is stored.
    Broken,
}

#[cfg(feature = "metrics")]
impl NotStored {
    pub(crate) const ALL: [Self; 4] = [Self::Late, Self::Refused, Self::Unreported, Self::Broken];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Refused => "refused",
            Self::Unreported => "unreported",
            Self::Broken => "broken",
        }
    }
}
