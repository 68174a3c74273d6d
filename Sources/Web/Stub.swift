// Stand-in until the first file is here.
internal import Hummingbird
internal import HummingbirdCore
