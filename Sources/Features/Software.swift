// The name and version that clients and administrators are told.

/// What this program is.
public enum Software {
    /// Its name.
    public static let name = "Kinglet"
    /// What stands for it where a URI is wanted.
    static let uri = "urn:kinglet"
    /// Its version.
    public static let version = "0.1.0"
}
