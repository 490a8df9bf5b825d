/* Extension modules of every kind, after those of CPython's Modules/_testsinglephase.c.

   basic          single-phase, m_size -1: global state, never initialised again
   basic_wrapper  the same definition under another name
   basic_copy     the same with a definition of its own
   reinit         single-phase, m_size 0: the init function runs at every creation
   state          single-phase with state of its own
   multi          multi-phase with state of its own
   several        multi-phase, executed by three functions
   singleton      multi-phase, one module for all creations, as Cython makes them
   number         multi-phase, creates an int, which has no attributes
   failing        the init function raises
   failing_exec   multi-phase, the execution raises
*/

#include <Python.h>

static int created = 0;

static PyObject *
count(PyObject *self, PyObject *unused)
{
    return PyLong_FromLong(created);
}

static PyMethodDef methods[] = {
    {"count", count, METH_NOARGS, "How many modules were initialised in this process."},
    {NULL, NULL, 0, NULL},
};

static PyObject *look_up_basic(PyObject *self, PyObject *unused);

static PyMethodDef basic_methods[] = {
    {"count", count, METH_NOARGS, NULL},
    {"look_up", look_up_basic, METH_NOARGS, "The module that CPython has for the definition."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef basic_def = {
    PyModuleDef_HEAD_INIT, .m_name = "basic", .m_size = -1, .m_methods = basic_methods,
};

static PyObject *
look_up_basic(PyObject *self, PyObject *unused)
{
    PyObject *module = PyState_FindModule(&basic_def);
    return Py_NewRef(module == NULL ? Py_None : module);
}

/* Fill a module with what tells one initialisation from another. */
static int
fill(PyObject *module)
{
    created += 1;
    PyObject *list = PyList_New(0);
    if (list == NULL || PyModule_AddObjectRef(module, "made", list) < 0) {
        Py_XDECREF(list);
        return -1;
    }
    Py_DECREF(list);
    return PyModule_AddIntConstant(module, "number", created);
}

static PyObject *
create(struct PyModuleDef *def)
{
    PyObject *module = PyModule_Create(def);
    if (module != NULL && fill(module) < 0) {
        Py_CLEAR(module);
    }
    return module;
}

PyMODINIT_FUNC
PyInit_basic(void)
{
    return create(&basic_def);
}

PyMODINIT_FUNC
PyInit_basic_wrapper(void)
{
    return create(&basic_def);
}

PyMODINIT_FUNC
PyInit_basic_copy(void)
{
    static struct PyModuleDef def = {
        PyModuleDef_HEAD_INIT, .m_name = "basic_copy", .m_size = -1, .m_methods = methods,
    };
    return create(&def);
}

PyMODINIT_FUNC
PyInit_reinit(void)
{
    static struct PyModuleDef def = {
        PyModuleDef_HEAD_INIT, .m_name = "reinit", .m_size = 0, .m_methods = methods,
    };
    return create(&def);
}

PyMODINIT_FUNC
PyInit_state(void)
{
    static struct PyModuleDef def = {
        PyModuleDef_HEAD_INIT, .m_name = "state", .m_size = sizeof(int), .m_methods = methods,
    };
    return create(&def);
}

static PyModuleDef_Slot multi_slots[] = {
    {Py_mod_exec, fill},
    {0, NULL},
};

PyMODINIT_FUNC
PyInit_multi(void)
{
    static struct PyModuleDef def = {
        PyModuleDef_HEAD_INIT, .m_name = "multi", .m_size = sizeof(int), .m_methods = methods,
        .m_slots = multi_slots,
    };
    return PyModuleDef_Init(&def);
}

static int
note_order(PyObject *module)
{
    PyObject *made = PyObject_GetAttrString(module, "made");
    if (made == NULL) {
        return -1;
    }
    PyObject *number = PyLong_FromSsize_t(PyList_Size(made));
    int failed = number == NULL || PyList_Append(made, number) < 0;
    Py_XDECREF(number);
    Py_DECREF(made);
    return -failed;
}

static PyModuleDef_Slot several_slots[] = {
    {Py_mod_exec, fill},
    {Py_mod_exec, note_order},
    {Py_mod_exec, note_order},
    {0, NULL},
};

PyMODINIT_FUNC
PyInit_several(void)
{
    static struct PyModuleDef def = {
        PyModuleDef_HEAD_INIT, .m_name = "several", .m_methods = methods, .m_slots = several_slots,
    };
    return PyModuleDef_Init(&def);
}

static PyObject *singleton = NULL;

static PyObject *
create_singleton(PyObject *spec, PyModuleDef *def)
{
    if (singleton == NULL) {
        PyObject *name = PyObject_GetAttrString(spec, "name");
        singleton = name == NULL ? NULL : PyModule_NewObject(name);
        Py_XDECREF(name);
    }
    return Py_XNewRef(singleton);
}

static PyModuleDef_Slot singleton_slots[] = {
    {Py_mod_create, create_singleton},
    {Py_mod_exec, fill},
    {0, NULL},
};

PyMODINIT_FUNC
PyInit_singleton(void)
{
    static struct PyModuleDef def = {
        PyModuleDef_HEAD_INIT, .m_name = "singleton", .m_slots = singleton_slots,
    };
    return PyModuleDef_Init(&def);
}

static PyObject *
create_number(PyObject *spec, PyModuleDef *def)
{
    created += 1;
    return PyLong_FromLong(created);
}

static PyModuleDef_Slot number_slots[] = {
    {Py_mod_create, create_number},
    {0, NULL},
};

PyMODINIT_FUNC
PyInit_number(void)
{
    static struct PyModuleDef def = {
        PyModuleDef_HEAD_INIT, .m_name = "number", .m_slots = number_slots,
    };
    return PyModuleDef_Init(&def);
}

PyMODINIT_FUNC
PyInit_failing(void)
{
    PyErr_SetString(PyExc_OSError, "as written in C");
    return NULL;
}

static int
fail(PyObject *module)
{
    PyErr_SetString(PyExc_OSError, "as written in C");
    return -1;
}

static PyModuleDef_Slot failing_slots[] = {
    {Py_mod_exec, fail},
    {0, NULL},
};

PyMODINIT_FUNC
PyInit_failing_exec(void)
{
    static struct PyModuleDef def = {
        PyModuleDef_HEAD_INIT, .m_name = "failing_exec", .m_slots = failing_slots,
    };
    return PyModuleDef_Init(&def);
}
