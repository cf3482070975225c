//! Which paths a package, a recipe or a link inside a package may name: none that leads out of its folder.

/// Why a path is refused; it names the path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// There is nothing in it.
    #[error("a path is empty; name a file inside the folder")]
    Empty,
    /// It begins at the root of the host, or names a drive.
    #[error("path {0:?} is absolute; use one relative to the folder, such as \"bin/tool\"")]
    Absolute(String),
    /// It climbs out.
    #[error("path {0:?} contains \"..\"; use one that stays inside the folder")]
    Climbs(String),
    /// A character that no portable file name has.
    #[error("path {0:?} holds a backslash, a colon or a control character; use plain file names")]
    Character(String),
    /// A symbolic link points out of the package.
    #[error("link {link:?} points to {target:?}, outside the package; links must stay inside")]
    LinkLeaves {
        /// Where the link is.
        link: String,
        /// Where it points.
        target: String,
    },
}

/// Checks a path that is relative to some folder and must stay in it. `.` and `./x` are fine.
pub fn check_inside(path: &str) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if path.starts_with('/') {
        return Err(PathError::Absolute(path.to_owned()));
    }
    // A backslash separates and a colon names a drive or a stream on Windows, where a package may be unpacked one day.
    if path.chars().any(|c| c.is_control() || matches!(c, '\\' | ':')) {
        return Err(PathError::Character(path.to_owned()));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(PathError::Climbs(path.to_owned()));
    }
    Ok(())
}

/// Checks the target of a symbolic link at `link` (a path inside the package): seen from there it must stay inside.
///
/// This holds as long as nothing is ever unpacked through a link: then every folder above `link` is a real one.
pub fn check_link(link: &str, target: &str) -> Result<(), PathError> {
    let leaves = || PathError::LinkLeaves { link: link.to_owned(), target: target.to_owned() };
    if target.is_empty() || target.starts_with('/') || target.chars().any(|c| c.is_control() || c == '\\') {
        return Err(leaves());
    }
    // `..` counts only at the beginning, where it climbs real folders. After a name it could climb from wherever
    // another link leads, and no look at the text alone tells where that is.
    let mut depth = link.split('/').filter(|part| !matches!(*part, "" | ".")).count().saturating_sub(1);
    let mut named = false;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if named => return Err(leaves()),
            ".." => depth = depth.checked_sub(1).ok_or_else(leaves)?,
            _ => named = true,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_out_are_refused() {
        for good in ["a", "a/b", "./a", "a/./b", ".", "a..b", "...", ".hidden"] {
            assert_eq!(check_inside(good), Ok(()), "{good}");
        }
        let owned = str::to_owned;
        assert_eq!(check_inside(""), Err(PathError::Empty));
        assert_eq!(check_inside("/etc/passwd"), Err(PathError::Absolute(owned("/etc/passwd"))));
        for climbs in ["..", "../a", "a/../../b", "a/.."] {
            assert_eq!(check_inside(climbs), Err(PathError::Climbs(owned(climbs))));
        }
        for odd in ["a\\b", "C:x", "a\nb", "a\0"] {
            assert_eq!(check_inside(odd), Err(PathError::Character(owned(odd))));
        }
    }

    #[test]
    fn links_may_move_inside_but_not_out() {
        for (link, target) in [("a/b", "c"), ("a/b", "../c"), ("lib/x.so", "x.so.1"), ("a/b/c", "../../d")] {
            assert_eq!(check_link(link, target), Ok(()), "{link} -> {target}");
        }
        for (link, target) in
            [("a", "../b"), ("a/b", "../../c"), ("a", "/etc"), ("a", ""), ("./a", "../b"), ("a", "b/../c")]
        {
            assert!(check_link(link, target).is_err(), "{link} -> {target}");
        }
    }
}
