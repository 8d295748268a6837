"""What can go wrong with models on their way into the cache and into memory. Each message is one line.

They are written for the operator; those of `ReloadRefused` also for whoever asked for the reload.

ModelsError
├── InvalidModels          models.toml is not what it should be
│   ├── UnknownModel       a name that nobody defined
│   └── UnknownSource      a source whose scheme is not known
├── FetchFailed            the files did not arrive
│   ├── SourceUnreachable  the network, the registry or the hub failed: trying again may help
│   ├── NotAtSource        the place answered, and what was asked for is not there
│   ├── Mismatch           size or checksum differ from what was declared
│   ├── UnsafeArchive      an archive names a path outside itself, or something that is no plain file
│   └── NotEnoughSpace     the disk has less room than the model needs
├── PrepareFailed          the files arrived and cannot be made ready
│   ├── PickledWeights     weights that run code when they are loaded
│   └── UnsupportedModel   a format or an architecture that cannot be converted
├── LoadRefused            it is ready to be loaded and is not taken
│   ├── NotEnoughMemory    it would pass the limit for all models together
│   └── SelfTestFailed     it does not answer as its self-test wants
└── ReloadRefused          nothing was begun
    ├── UnknownVersion     no prepared copy has this version
    └── ReloadRunning      another version is being loaded
"""


class ModelsError(Exception):
    code = "models_error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidModels(ModelsError):
    code = "invalid_models"


class UnknownModel(InvalidModels):
    code = "unknown_model"


class UnknownSource(InvalidModels):
    code = "unknown_source"


class FetchFailed(ModelsError):
    code = "fetch_failed"


class SourceUnreachable(FetchFailed):
    code = "source_unreachable"


class NotAtSource(FetchFailed):
    code = "not_at_source"


class Mismatch(FetchFailed):
    code = "mismatch"


class UnsafeArchive(FetchFailed):
    code = "unsafe_archive"


class NotEnoughSpace(FetchFailed):
    code = "not_enough_space"


class PrepareFailed(ModelsError):
    code = "prepare_failed"


class PickledWeights(PrepareFailed):
    code = "pickled_weights"


class UnsupportedModel(PrepareFailed):
    code = "unsupported_model"


class LoadRefused(ModelsError):
    code = "load_refused"


class NotEnoughMemory(LoadRefused):
    code = "not_enough_memory"


class SelfTestFailed(LoadRefused):
    code = "self_test_failed"


class ReloadRefused(ModelsError):
    code = "reload_refused"


class UnknownVersion(ReloadRefused):
    code = "unknown_version"


class ReloadRunning(ReloadRefused):
    code = "reload_running"
