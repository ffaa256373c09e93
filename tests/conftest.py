import os

from hypothesis import settings

# For as long as the grace is, a new service gives out addresses at random places. Tests want the lowest ones first;
# those of sessions say what grace they need.
os.environ["WG_ORCHESTRATOR_GRACE"] = "0"

# How long an example takes is the machine's business.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
