//! Why this exists: MLflow's proxy tells a file's name and length and no date, changes nothing that is there in one
//! step, and refuses nothing. So whatever must be known of a blob stands in the **names** of files, each name is
//! used once, and a file says only by being there what it says.
//!
//! ```text
//! <folder>/blobs/ab/<62 hex>.copy.<bytes>.<µs>.<id>      the bytes
//! <folder>/blobs/ab/<62 hex>.seen.<bytes>.<µs>.<id>      says where somebody else keeps these bytes
//! <folder>/blobs/ab/<62 hex>.touched.0.<µs>.<id>         that they were put again
//! <folder>/blobs/ab/<62 hex>.removing.0.<µs>.<id>        that a collector is at them
//! ```
//!
//! A copy of which less has arrived than its name says is none: nobody sees a part of a blob, also not where the
//! server copies files byte by byte to where they can be seen.

use registry_core::{Digest, Timestamp};

/// What a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Copy,
    Seen,
    Touched,
    Removing,
}

impl Role {
    const ALL: [Role; 4] = [Role::Copy, Role::Seen, Role::Touched, Role::Removing];

    fn as_str(self) -> &'static str {
        match self {
            Role::Copy => "copy",
            Role::Seen => "seen",
            Role::Touched => "touched",
            Role::Removing => "removing",
        }
    }
}

/// A name, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) digest: Digest,
    pub(super) role: Role,
    /// How many bytes the blob has; 0 where the file says nothing of that.
    pub(super) size: u64,
    pub(super) at: Timestamp,
    pub(super) id: String,
}

/// The folder of a digest, below that of all blobs.
pub(super) fn folder(digest: &Digest) -> String {
    digest.hex().chars().take(2).collect()
}

impl Name {
    /// The path below the folder of all blobs.
    pub(super) fn path(&self) -> String {
        let (first, rest): (String, String) =
            (folder(&self.digest), self.digest.hex().chars().skip(2).collect());
        let (role, size, at) = (self.role.as_str(), self.size, self.at.microseconds());
        format!("{first}/{rest}.{role}.{size}.{at}.{}", self.id)
    }

    /// Understands the name of a file in a folder of blobs; none if it is not one of ours.
    pub(super) fn read(folder: &str, file: &str) -> Option<Name> {
        let mut parts = file.split('.');
        let (rest, role, size, at, id) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let name = Name {
            digest: format!("sha256:{folder}{rest}").parse().ok()?,
            role: Role::ALL.into_iter().find(|known| known.as_str() == role)?,
            size: size.parse().ok()?,
            at: Timestamp::from_microseconds(at.parse().ok()?).ok()?,
            id: id.to_owned(),
        };
        // Only what we would write ourselves, letter by letter.
        (name.path() == format!("{folder}/{file}")).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_were_written_and_others_are_not() {
        let digest = Digest::of(b"x");
        for role in Role::ALL {
            let at = Timestamp::from_microseconds(1_700_000_000_000_000).unwrap();
            let name = Name { digest, role, size: 17, at, id: "0a1b".to_owned() };
            let path = name.path();
            let (folder, file) = path.split_once('/').unwrap();
            assert_eq!(Name::read(folder, file), Some(name));
            for other in [format!("{file}.x"), file.replace("17", "017"), file.to_uppercase(), String::new()]
            {
                assert_eq!(Name::read(folder, &other), None, "{other}");
            }
            assert_eq!(Name::read("zz", file), None);
        }
    }
}
