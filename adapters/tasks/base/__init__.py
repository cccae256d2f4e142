"""What a task's file builds on: `from adapters.tasks import base`, then `class Task(base.Task)`.

A task that can also be prompted is a `base.PromptableTask`.
"""

from adapters.tasks.base.example import Encoded as Encoded
from adapters.tasks.base.example import Example as Example
from adapters.tasks.base.example import Examples as Examples
from adapters.tasks.base.example import Prediction as Prediction
from adapters.tasks.base.task import AnswerForm as AnswerForm
from adapters.tasks.base.task import PromptableTask as PromptableTask
from adapters.tasks.base.task import Task as Task
from adapters.tasks.base.task import load_task as load_task
