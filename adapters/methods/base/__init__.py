"""What a method's file builds on: `from adapters.methods import base`, then `class Method(base.Method)`."""

from adapters.methods.base.classical import ClassicalMethod as ClassicalMethod
from adapters.methods.base.classical import ClassicalModel as ClassicalModel
from adapters.methods.base.delta import AdapterDelta as AdapterDelta
from adapters.methods.base.delta import AdapterTensors as AdapterTensors
from adapters.methods.base.delta import LayerDelta as LayerDelta
from adapters.methods.base.method import Method as Method
from adapters.methods.base.method import TensorsMethod as TensorsMethod
from adapters.methods.base.method import head_modules as head_modules
from adapters.methods.base.method import headed as headed
from adapters.methods.base.method import load_method as load_method
from adapters.methods.base.peft_method import PeftMethod as PeftMethod
