"""The Pulumi program: load the settings, seat everyone, stand guard, declare the machines and the hand-over."""

import pulumi

from policies.guard import stand_guard
from stacks.advice import advice
from stacks.errors import SeminarError
from stacks.interrupts import end_quietly
from stacks.machines import declare
from stacks.roster import enrol
from stacks.seats import seat_everyone
from stacks.settings import SeminarSettings

end_quietly()
try:
    settings = SeminarSettings.from_pulumi()
    seats = seat_everyone(enrol(settings))
    for hint in advice(settings):
        pulumi.log.warn(hint)
    stand_guard(settings, seats)
    declare(settings, seats)
except SeminarError as error:
    raise pulumi.RunError(str(error)) from error
