"""The Pulumi program: load the settings, seat everyone, build the machines, export the hand-over."""

import pulumi

from stacks.advice import advice
from stacks.credentials import OrganiserKey, credentials_for
from stacks.errors import SeminarError
from stacks.interrupts import end_quietly
from stacks.machines import MachinesArgs, build, export
from stacks.roster import enrol
from stacks.seats import seat_everyone
from stacks.settings import SeminarSettings

end_quietly()
try:
    settings = SeminarSettings.from_pulumi()
    seats = seat_everyone(enrol(settings))
    for hint in advice(settings):
        pulumi.log.warn(hint)
    args = MachinesArgs(
        settings=settings,
        seats=seats,
        organiser=OrganiserKey("organiser"),
        credentials=credentials_for(seats, settings),
    )
    export(args, build(args))
except SeminarError as error:
    raise pulumi.RunError(str(error)) from error
