"""Who plays for an environment: its own demonstrator, one that is set, or nobody."""

from journeyman.composition import compose_settings
from journeyman.services.demonstrations import demonstrated_by
from journeyman.services.players import has_demonstrator
from journeyman.settings.dataset import ManifestDatasetSettings, ScriptedDatasetSettings

RELAY = ("env=pettingzoo", "env.module=support.relay_env")


def test_the_town_has_its_own_and_others_the_one_that_is_set() -> None:
    def has(*overrides: str) -> bool:
        return has_demonstrator(compose_settings(list(overrides)).env)

    assert has()
    assert not has(*RELAY)
    assert has(*RELAY, "env.demonstrator=mine")
    assert has(*RELAY, "env.demonstrator=runs/final.safetensors")
    assert not has(*RELAY, "env.demonstrator=demos/manifest.json")


def test_a_dataset_that_is_the_demonstrator_takes_the_place_of_a_capture() -> None:
    named = (*RELAY, "env.demonstrator=demos/manifest.json")
    found = demonstrated_by(compose_settings(named))
    assert isinstance(found, ManifestDatasetSettings)
    assert (found.manifest, found.allow_external_paths) == ("demos/manifest.json", False)
    # Another source of demonstrations has been asked for: it counts.
    other = compose_settings([*named, "dataset=manifest", "dataset.manifest=other.json"])
    assert demonstrated_by(other) is other.dataset
    plain = compose_settings([*RELAY, "env.demonstrator=mine"])
    assert isinstance(demonstrated_by(plain), ScriptedDatasetSettings)
