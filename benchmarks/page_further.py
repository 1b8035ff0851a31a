"""Pages of measurements that have a module of their own, in the order in which they are listed."""

from benchmarks.page_cluster import CLUSTER
from benchmarks.page_critic import CRITIC
from benchmarks.page_first_contact import FIRST_CONTACT
from benchmarks.page_fleet import FLEET
from benchmarks.page_injection import INJECTION
from benchmarks.page_people import PEOPLE
from benchmarks.page_service import SERVICE
from benchmarks.page_several import SEVERAL
from benchmarks.page_style import STYLE
from benchmarks.page_trainings import TRAININGS
from benchmarks.page_vl import VL

FURTHER = (VL, CRITIC, FLEET, CLUSTER, FIRST_CONTACT, SERVICE, SEVERAL, STYLE, PEOPLE, INJECTION, TRAININGS)
