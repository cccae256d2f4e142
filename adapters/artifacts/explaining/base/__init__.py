"""What an attribution method's file builds on: `from adapters.artifacts.explaining import base`."""

from adapters.artifacts.explaining.base.attribution import Attribution as Attribution
from adapters.artifacts.explaining.base.attribution import Options as Options
from adapters.artifacts.explaining.base.reader import ReadAnswer as ReadAnswer
from adapters.artifacts.explaining.base.subject import Answer as Answer
