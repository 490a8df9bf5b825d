/* An extension module whose execution calls `pause` of the Python module `hook`. */

#include <Python.h>

static int
execute(PyObject *module)
{
    PyObject *hook = PyImport_ImportModule("hook");
    PyObject *result = hook == NULL ? NULL : PyObject_CallMethod(hook, "pause", NULL);
    int failed = result == NULL || PyModule_AddObjectRef(module, "result", result) < 0;
    Py_XDECREF(hook);
    Py_XDECREF(result);
    return -failed;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

static struct PyModuleDef def = {
    PyModuleDef_HEAD_INIT, .m_name = "pausing", .m_slots = slots,
};

PyMODINIT_FUNC
PyInit_pausing(void)
{
    return PyModuleDef_Init(&def);
}
