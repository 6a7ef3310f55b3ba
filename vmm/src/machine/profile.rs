//! Which remapping unit the machine gets: the one the user named, or the one that serves the machine best.
//!
//! A guest announces what it takes out of its tables, and, where the unit says that it caches what is absent
//! (caching mode), also what it puts into second-stage tables. What it puts into first-stage tables it never
//! announces. So behind an assigned function, whose mappings the host must be given one by one, there can be
//! first-stage tables only where the host's IOMMU walks them itself.

use iommu::{Capabilities, Feature, HostUnit, Profile};

use crate::config::{ProfileChoice, UnitSpec, profile_name};

/// What the machine and its host are like, as far as the unit goes by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Circumstances {
    /// What the host can do for every function assigned from the start; none if there is no such function.
    pub assigned: Option<Abilities>,
    /// Whether functions may be plugged in later.
    pub slots: bool,
}

/// What a host's IOMMU can do for a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Abilities {
    /// Address bits that it translates.
    pub width: u8,
    /// Whether it makes all DMA see the processors' caches.
    pub coherent: bool,
    /// What its units can do, if they walk a guest's first-stage tables themselves.
    pub nesting: Option<HostUnit>,
    /// How many bits the PASIDs have that it carries out for some function; 0 if for none.
    pub pasid_bits: u8,
}

/// The unit that the machine gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub capabilities: Capabilities,
    /// Where the machine chose: what and why, in one sentence for the user.
    pub reason: Option<String>,
}

/// No PASID has more bits.
pub(super) const MAX_PASID_BITS: u8 = 20;

/// Decides. A unit that cannot be, or not in these circumstances, is refused with a sentence.
pub(super) fn choose(spec: &UnitSpec, circumstances: Circumstances) -> Result<Chosen, String> {
    let Circumstances { assigned, slots } = circumstances;
    let follows = assigned.is_some() || slots;
    let (profile, why) = match spec.profile {
        ProfileChoice::Named(profile) => (profile, None),
        ProfileChoice::Auto => {
            let (profile, why) = best(circumstances);
            (profile, Some(why))
        }
    };
    let width = spec.width.unwrap_or(match assigned {
        Some(host) if host.width < UnitSpec::WIDEST => UnitSpec::NARROW,
        _ => UnitSpec::WIDEST,
    });
    let mut wanted = Capabilities::builder(profile, width);
    if follows && profile == Profile::FirstStage {
        // Software that knows legacy mode alone has second-stage tables here too.
        wanted = wanted.with(Feature::CachingMode);
    }
    if let Some(Abilities { nesting: Some(_), pasid_bits: bits @ 1.., .. }) = assigned
        && profile == Profile::Nested
    {
        wanted = wanted.with(Feature::Pasid).pasid_bits(bits.min(MAX_PASID_BITS));
    }
    wanted = spec.features.apply(wanted);
    if let Some(unit) = assigned.and_then(|host| host.nesting) {
        wanted = wanted.walked_by(unit);
    }
    if slots || assigned.is_some_and(|host| !host.coherent) {
        // What is plugged in later may be on a host's unit that does not snoop.
        wanted = wanted.without(Feature::SnoopControl);
    }
    let capabilities = wanted.build().map_err(|conflict| {
        format!("Such a remapping unit cannot be: {conflict}; change --iommu-features")
    })?;
    if follows {
        check_followed(&capabilities, spec.profile, circumstances)?;
    }
    let reason = why.map(|why| {
        format!(
            "the remapping unit has the profile `{}` and {width} bits, because {why} (--iommu-profile takes others)",
            profile_name(profile)
        )
    });
    Ok(Chosen { capabilities, reason })
}

/// The profile that serves the machine best, and why.
fn best(circumstances: Circumstances) -> (Profile, &'static str) {
    match circumstances {
        // Whatever it is that comes later, the host has not been asked what it can do for it.
        Circumstances { slots: true, .. } => {
            (Profile::Legacy, "functions may be plugged in, and a guest never announces first-stage mappings")
        }
        // Linux takes no unit with both stages unless both have tables of 48 bits.
        Circumstances {
            assigned: Some(Abilities { nesting: Some(_), width: UnitSpec::WIDEST.., .. }),
            ..
        } => {
            (Profile::Nested, "functions are assigned, and the host's IOMMU walks first-stage tables itself")
        }
        // Every kernel knows legacy mode, and the other profile has nothing that an assigned function can use.
        Circumstances { assigned: Some(_), .. } => {
            (Profile::Legacy, "functions are assigned, and a guest never announces first-stage mappings")
        }
        Circumstances { assigned: None, .. } => {
            (Profile::Full, "no function is assigned, so that nothing keeps it from everything there is")
        }
    }
}

/// Refuses what the host's mappings cannot be kept in line with.
fn check_followed(
    capabilities: &Capabilities,
    named: ProfileChoice,
    circumstances: Circumstances,
) -> Result<(), String> {
    let (what, without) = if circumstances.assigned.is_some() {
        ("Assigned functions", "--vfio")
    } else {
        ("Functions that are plugged in", "the slots for them")
    };
    let nested = !circumstances.slots && circumstances.assigned.is_some_and(|host| host.nesting.is_some());
    if named == ProfileChoice::Named(Profile::Nested) {
        check_nested(capabilities, circumstances)?;
    }
    if capabilities.has(Feature::FirstStage) && !nested {
        return Err(format!(
            "{what} cannot follow first-stage tables, because a guest never announces what it maps there: take \
             --iommu-profile legacy or second-stage, or drop {without}"
        ));
    }
    if capabilities.has(Feature::SecondStageDirty) {
        return Err(format!(
            "{what} cannot mark a guest's second-stage tables, because the host goes by tables of its own: drop \
             +second-stage-dirty or {without}"
        ));
    }
    if let Some(feature) = [Feature::Nested, Feature::Execute].into_iter().find(|it| capabilities.has(*it)) {
        return Err(format!(
            "{what} cannot be behind a unit with {feature}, because the host walks no more than one stage of a \
             guest's tables, for reads and writes: drop +{feature} or {without}"
        ));
    }
    if !capabilities.has(Feature::CachingMode) {
        return Err(format!(
            "{what} need caching mode, because without it a guest does not announce what it maps: drop \
             -caching-mode or {without}"
        ));
    }
    Ok(())
}

/// Refuses the profile `nested` where the host does not walk the first-stage tables that it is there for.
fn check_nested(capabilities: &Capabilities, circumstances: Circumstances) -> Result<(), String> {
    let width = capabilities.guest_address_width();
    let nests = circumstances.assigned.is_some_and(|host| host.nesting.is_some());
    let why = if circumstances.slots {
        "the host has not been asked what it can do for functions that are plugged in: take --iommu-profile legacy \
         or second-stage, or drop the slots for them"
            .into()
    } else if !nests {
        "the host's IOMMU does not walk a guest's first-stage tables (that takes --host-dma iommufd, Linux 6.8, and \
         a unit with nested translation in scalable mode): take --iommu-profile legacy or second-stage, or drop \
         --vfio"
            .into()
    } else if width < UnitSpec::WIDEST {
        format!(
            "its first-stage tables have {} bits, and the remapping unit would have {width}, as --iommu-width says \
             or the host's IOMMU allows: take --iommu-profile legacy or second-stage",
            UnitSpec::WIDEST
        )
    } else {
        return Ok(());
    };
    Err(format!("The profile `nested` cannot be here, because {why}"))
}

#[cfg(test)]
mod tests;
