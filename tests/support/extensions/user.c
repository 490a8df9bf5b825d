/* An extension module that loads a shared library from another folder, as repaired wheels do. */

#include <Python.h>

int inner(void);

static PyObject *
call(PyObject *self, PyObject *unused)
{
    return PyLong_FromLong(inner());
}

static PyMethodDef methods[] = {
    {"call", call, METH_NOARGS, "What the library returns."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef def = {
    PyModuleDef_HEAD_INIT, .m_name = "user", .m_methods = methods,
};

PyMODINIT_FUNC
INIT(void)
{
    return PyModuleDef_Init(&def);
}
